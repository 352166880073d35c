// Package chaos runs the real program on real mounts while everything around it
// fails: registries that say nothing or send rubbish, programs that are killed,
// the process of the mount that is killed, cache files that are damaged. What a
// test looks at are the bytes that come out, the errors, and the requests. It is
// no part of make test: make chaos runs it, make chaos-smoke a short form of it.
package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/internal/remains"
)

// enabled is the variable that make chaos sets, to anything, and make chaos-smoke
// to the word smoke.
const enabled = "OCIDISTFS_CHAOS"

// smoke says whether the short form was asked for.
func smoke() bool { return os.Getenv(enabled) == "smoke" }

// times is how often something is done: in full, or in the short form.
func times(full, short int) int {
	if smoke() {
		return short
	}
	return full
}

// program is the binary that is tested.
var program string

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(readerVariable) != "":
		os.Exit(readUnderTimer(os.Getenv(readerVariable)))
	case os.Getenv(randomVariable) != "":
		os.Exit(readAtRandom(os.Getenv(randomVariable), os.Args[1], os.Args[2]))
	}
	os.Exit(withProgram(m))
}

// withProgram builds the program, once for all tests, where any will run.
func withProgram(m *testing.M) int {
	if os.Getenv(enabled) == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "chaos-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "ocidistfs")
	build := exec.Command("go", "build", "-o", program, "../../cmd/ocidistfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return m.Run()
}

// A bench is where a test works: everything that it makes is below one directory,
// and nothing of it is left in the end.
type bench struct{ dir string }

func newBench(t *testing.T) *bench {
	t.Helper()
	gate.Suite(t, enabled)
	gate.Mounts(t)
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	remains.Check(t, dir)
	return &bench{dir}
}

// home makes a directory for something to keep its things in.
func (b *bench) home(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	// patience is how long something may take that has to come.
	patience = 30 * time.Second
	// pause is between two looks whether it has.
	pause = 2 * time.Millisecond
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(pause)
	}
}
