package main

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopyAttributes needs no more than to own the files, although nobody may write to
// them in the end.
func TestCopyAttributes(t *testing.T) {
	for preserve, want := range map[bool]string{true: "of content", false: ""} {
		dir, told := copyTestDir(t, testDir{"file": testFile{"content"}}, preserve)
		t.Cleanup(func() { _ = unix.Chmod(dir, 0o755) })
		if told != "" {
			t.Error(told)
		}
		read := func(path, name string) string {
			b := make([]byte, 100)
			n, err := unix.Getxattr(path, name, b)
			if errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip(err)
			}
			return string(b[:max(n, 0)])
		}
		if got := read(filepath.Join(dir, "file"), digestAttribute); got != want {
			t.Errorf("the file's is %q, want %q", got, want)
		}
		if got := read(dir, "user.oci.manifest.digest"); (got != "") != preserve {
			t.Errorf("the directory's is %q", got)
		}
	}
}
