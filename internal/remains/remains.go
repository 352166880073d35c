// Package remains finds what a test has left behind on the machine: processes,
// mounts, loop devices.
package remains

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// stopLimit is how long what was told to end may take to do so.
	stopLimit = 30 * time.Second
	// pause is between two looks.
	pause = 100 * time.Millisecond
)

// Check fails a test, when it ends, that leaves processes, mounts or loop devices
// behind, and ends them. Those of others on the machine, which come and go, are
// not meant: what counts names the test's directory. A mount also counts below
// one of elsewhere, directories where programs that the test runs mount, if it
// was not there before; it is left as it is.
//
// It is called before whatever has to be ended is started, so that it looks
// after all other cleanups.
func Check(t testing.TB, dir string, elsewhere ...string) {
	t.Helper()
	before := mounts(t, dir, elsewhere)
	t.Cleanup(func() {
		// Processes end after they were told to, and the kernel lets go of a loop device
		// after its file system was unmounted everywhere, mount namespaces that were made
		// meanwhile included.
		for deadline := time.Now().Add(stopLimit); len(processes(t, dir))+len(loops(t, dir)) > 0 && time.Now().Before(deadline); {
			<-time.After(pause)
		}
		for pid, line := range processes(t, dir) {
			t.Errorf("process %d was left behind: %s", pid, line)
			_ = syscall.Kill(pid, syscall.SIGKILL) // or it has just ended
		}
		for _, point := range slices.Backward(mounts(t, dir, elsewhere)) {
			if slices.Contains(before, point) {
				continue
			}
			t.Errorf("a mount was left behind: %s", point)
			if strings.HasPrefix(point, dir+"/") {
				_ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", point).Run() // or it has just ended
			}
		}
		for _, file := range loops(t, dir) {
			t.Errorf("a loop device was left behind, of %s", file)
		}
	})
}

// mounts are the mountpoints below a directory and elsewhere.
func mounts(t testing.TB, dir string, elsewhere []string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		point := strings.Fields(line)[4] // proc(5): every line has ten or more
		below := func(parent string) bool { return strings.HasPrefix(point, parent+"/") }
		if below(dir) || slices.ContainsFunc(elsewhere, below) {
			found = append(found, point)
		}
	}
	return found
}

// loops are the files below a directory that loop devices are of.
func loops(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(b), dir+"/") { // or it was let go of just now
			found = append(found, strings.TrimSpace(string(b)))
		}
	}
	return found
}

// processes are those whose command lines name a directory, by number.
func processes(t testing.TB, dir string) map[int]string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte(dir+"/")) {
			continue // it has ended, or is somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		found[pid] = string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
	}
	return found
}
