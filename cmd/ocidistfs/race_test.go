//go:build race

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const raceEnabled = true

// raceVariable is for the environment of a program with the race detector. By
// default it sleeps for a second before it ends, which adds up to minutes; and what
// it finds goes to standard error, which of a mount in the background is nowhere.
func raceVariable() string {
	return "GORACE=atexit_sleep_ms=10 log_path=" + filepath.Join(filepath.Dir(program), "race")
}

// racesFound is an error with the races that programs had.
func racesFound() error {
	reports, err := filepath.Glob(filepath.Join(filepath.Dir(program), "race.*"))
	for _, path := range reports {
		report, readErr := os.ReadFile(path)
		err = errors.Join(err, readErr, fmt.Errorf("the program has a race:\n%s", report))
	}
	return err
}
