package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

var mountCommands = map[string]scriptCommand{
	"mounted": awaitMount,
	"await":   awaitFile,
	"stale":   awaitStale,
	"server":  findServer,
	"hold":    holdFile,
	"release": releaseFiles,
}

// awaitMount is: [!] mounted PATH; it waits until the mount is there, or gone.
func awaitMount(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	if !eventually(func() bool { return slices.Contains(mountsBelow(benchOf(ts).dir), path) != neg }) {
		ts.Fatalf("mounted %s: %v", path, !neg)
	}
}

// awaitStale is: stale PATH; it waits until nobody serves the mount. The threads
// of a process that was killed take a moment to let go of it.
func awaitStale(ts *testscript.TestScript, _ bool, args []string) {
	if !eventually(func() bool {
		f, err := os.Open(ts.MkAbs(args[0]))
		_ = f.Close()
		return errors.Is(err, syscall.ENOTCONN)
	}) {
		ts.Fatalf("%s is not stale", args[0])
	}
}

// awaitFile is: await PATH; it waits until the file is there.
func awaitFile(ts *testscript.TestScript, _ bool, args []string) {
	if !eventually(func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil }) {
		ts.Fatalf("there is no %s", args[0])
	}
}

// findServer is: server VARIABLE PATH; the variable gets the number of the
// process that serves the mount.
func findServer(ts *testscript.TestScript, _ bool, args []string) {
	var status struct{ Mount struct{ PID int } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[1], ".ocidistfs", "status.json"))), &status))
	if !runs(status.Mount.PID) {
		ts.Fatalf("process %d is not the program", status.Mount.PID)
	}
	ts.Setenv(args[0], strconv.Itoa(status.Mount.PID))
}

// holdFile is: hold PATH; the file stays open until it is released.
func holdFile(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	b := benchOf(ts)
	b.held = append(b.held, f)
}

// releaseFiles is: release; what is held is closed.
func releaseFiles(ts *testscript.TestScript, _ bool, _ []string) { benchOf(ts).release() }

func (b *bench) release() {
	for _, f := range b.held {
		_ = f.Close() // who serves it may be gone
	}
	b.held = nil
}
