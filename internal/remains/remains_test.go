//go:build linux

package remains

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// found is a test of which the errors are counted, and the cleanup is called.
type found struct {
	testing.TB
	errors  int
	cleanup func()
}

func (f *found) Errorf(format string, args ...any) { f.errors++; f.Logf(format, args...) }
func (f *found) Cleanup(c func())                  { f.cleanup = c }

// TestCheck leaves a mount behind, and nothing.
func TestCheck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	for name, left := range map[string]bool{"a mount": true, "nothing": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			point := filepath.Join(dir, "mnt")
			if err := os.Mkdir(point, 0o755); err != nil {
				t.Fatal(err)
			}
			f := &found{TB: t}
			Check(f, dir)
			if left {
				if err := syscall.Mount("none", point, "tmpfs", 0, "size=4k"); err != nil {
					t.Fatal(err)
				}
			}
			f.cleanup()
			if (f.errors > 0) != left {
				t.Errorf("%d errors", f.errors)
			}
			if err := exec.CommandContext(context.WithoutCancel(t.Context()), "mountpoint", "-q", point).Run(); err == nil {
				t.Error("it is still mounted")
			}
		})
	}
}
