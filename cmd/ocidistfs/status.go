package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs"
)

const statusExamples = `ocidistfs status
ocidistfs status /mnt/reg
# For programs:
ocidistfs status --json | jq '.[] | {mountpoint, state, errors}'
`

func addStatus(app *kingpin.Application) (string, command) {
	var mountpoint string
	var asJSON bool
	cmd := app.Command("status", "Show what is mounted: the cache, transfers, requests and recent errors.").HelpLong(statusExamples)
	cmd.Flag("json", "For programs: a list of objects, one a mount.").BoolVar(&asJSON)
	cmd.Arg("MOUNTPOINT", "Where it is mounted; by default all mounts of this machine.").StringVar(&mountpoint)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		reports, err := reportsOf(ctx, mountpoint)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSON(s.out, reports)
		} else {
			err = writeReports(s, reports, time.Now())
		}
		if err == nil && mountpoint != "" && reports[0].State != "serving" {
			err = fmt.Errorf("status %s: %s", mountpoint, reports[0].Error)
		}
		return err
	}
}

// reportsOf returns the report of one mount, or with "" of all.
func reportsOf(ctx context.Context, mountpoint string) ([]mountReport, error) {
	mountpoints := []string{mountpoint}
	if mountpoint == "" {
		var err error
		if mountpoints, err = fs.Mounts(); err != nil {
			return nil, err
		}
	}
	// All at once: a few that do not answer take no longer than one.
	all, errs := make([]mountReport, len(mountpoints)), make([]error, len(mountpoints))
	var asked sync.WaitGroup
	for i, path := range mountpoints {
		asked.Go(func() { all[i], errs[i] = report(ctx, path) })
	}
	asked.Wait()
	reports := []mountReport{}
	for i, err := range errs {
		switch {
		case err != nil && mountpoint == "" && !isMounted(mountpoints[i]): // any more, nor may its directory be there
		case err != nil:
			return nil, fmt.Errorf("status %s: %w", mountpoints[i], err)
		default:
			reports = append(reports, all[i])
		}
	}
	return reports, nil
}

func isMounted(path string) bool {
	mounts, err := fs.Mounts()
	return err != nil || slices.Contains(mounts, path)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	return enc.Encode(v)
}

// writeLine writes an object as one line, for who reads as it comes.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
