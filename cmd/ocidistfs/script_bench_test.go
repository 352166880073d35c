package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A bench is what a script works with: registries and proxies, what it mounted
// and started, and the duty to leave nothing of it behind.
type bench struct {
	tb         testing.TB
	dir        string // the script's
	registries registries
	logs       map[string]func() []string // of registries and proxies, by name
	held       []*os.File
	answer     func()     // what registries hold back
	hung       []*os.File // what serves mounts that do not answer
}

type benchKey struct{}

func benchOf(ts *testscript.TestScript) *bench { return ts.Value(benchKey{}).(*bench) }

// waitLimit is how long a script waits for what must come true. Nothing comes
// near it that works.
const waitLimit = 20 * time.Second

// eventually polls until ok, and says whether that came.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(waitLimit); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// clear ends what the script left. Mounts are fair: a script may end with one.
// A process that outlives its mount is not.
func (b *bench) clear() {
	b.release()
	// First of all: whoever waits for one of these cannot be ended before.
	for _, device := range b.hung {
		_ = device.Close() // the kernel ends what is under way
	}
	for _, path := range mountsBelow(b.dir) {
		if out, err := exec.Command("umount", "-l", path).CombinedOutput(); err != nil {
			b.tb.Errorf("umount %s: %v: %s", path, err, out)
		}
	}
	if eventually(func() bool { return len(b.processes()) == 0 }) {
		return
	}
	for _, pid := range b.processes() {
		b.tb.Errorf("process %d is left behind", pid)
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // it may have ended just now
		}
	}
}

// mountsBelow are our mounts below a directory, the topmost first.
func mountsBelow(dir string) []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // a machine without it has no mounts of ours either
	}
	var paths []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.Contains(line, " - fuse.ocidistfs ") && strings.HasPrefix(fields[4], dir+"/") {
			paths = append([]string{strings.ReplaceAll(fields[4], `\040`, " ")}, paths...)
		}
	}
	return paths
}

// processes are those that run the program for this script: the variable WORK is
// the script's directory.
func (b *bench) processes() []int {
	var pids []int
	found, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, proc := range found {
		pid := pidOf(filepath.Base(proc))
		if !runs(pid) {
			continue
		}
		environment, err := os.ReadFile(filepath.Join(proc, "environ"))
		if err == nil && strings.Contains("\x00"+string(environment), "\x00WORK="+b.dir+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}
