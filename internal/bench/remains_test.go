package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// checkRemains fails a test that leaves processes, mounts or loop devices of its
// directory behind, and ends them.
func checkRemains(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		// What was told to end does so at its own pace.
		for deadline := time.Now().Add(stopLimit); len(processes(t, dir)) > 0 && time.Now().Before(deadline); {
			<-time.After(pause)
		}
		for pid, line := range processes(t, dir) {
			t.Errorf("process %d was left behind: %s", pid, line)
			_ = syscall.Kill(pid, syscall.SIGKILL) // or it has just ended
		}
		for _, point := range slices.Backward(mounts(t, dir)) {
			t.Errorf("a mount was left behind: %s", point)
			detach(ctx, t, point)
		}
		for _, file := range loops(t) {
			if strings.HasPrefix(file, dir+"/") {
				t.Errorf("a loop device was left behind, of %s", file)
			}
		}
	})
}

// mounts are the mountpoints below a directory.
func mounts(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, dir+"/") { // proc(5): every line has ten or more
			found = append(found, point)
		}
	}
	return found
}

// loops are the files that loop devices are of.
func loops(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil { // or it was let go of just now
			found = append(found, strings.TrimSpace(string(b)))
		}
	}
	return found
}

// processes are those whose command lines name a directory, by number.
func processes(t *testing.T, dir string) map[int]string {
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
