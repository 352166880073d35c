package manners

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

// pause is between two looks.
const pause = 100 * time.Millisecond

// checkRemains fails a test that leaves processes or mounts behind, and ends
// them. One counts when it names the test's directory; all others are somebody
// else's.
func checkRemains(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		for _, point := range slices.Backward(mounts(t, dir)) {
			t.Errorf("a mount was left behind: %s", point)
			_ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", point).Run() // or it has just ended
		}
		// What was told to end does so at its own pace.
		for deadline := time.Now().Add(stopLimit); len(processes(t, dir)) > 0 && time.Now().Before(deadline); {
			<-time.After(pause)
		}
		for pid, line := range processes(t, dir) {
			t.Errorf("process %d was left behind: %s", pid, line)
			_ = syscall.Kill(pid, syscall.SIGKILL) // or it has just ended
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
		point := strings.Fields(line)[4] // proc(5): every line has ten or more
		if strings.HasPrefix(point, dir+"/") {
			found = append(found, point)
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
