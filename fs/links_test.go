package fs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A directory stands for a mount that may not be looked at: the links in it lead
// nowhere.
func TestResolveLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(path string) string { return filepath.Join(dir, path) }
	for _, path := range []string{"m", "d/e"} {
		if err := os.MkdirAll(in(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"m/link": "/nosuch", "link": "m", "below": in("m/a"), "second": "d/../link", "d/up": "../link/", "loop": "loop", "none": "nosuch",
	} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"m": "m", "m/link": "m/link", "m/link/a": "m/link/a", "link": "m", "link/link": "m/link", "below": "m/a", "below/b": "m/a/b",
		"second": "m", "second/a": "m/a", "d/up": "m", "d/up/a": "m/a", "d/e": "d/e", "": "", "none": "nosuch", "nosuch": "nosuch",
		"file": "file", "file/a": "file/a",
	} {
		if got, err := resolveLinks(in(path), []string{in("m")}); got != in(want) || err != nil {
			t.Errorf("%s leads to %s, %v; want %s", path, got, err, in(want))
		}
	}
	for path, want := range map[string]error{"loop": syscall.ELOOP, "loop/a": syscall.ELOOP, "nosuch/a": os.ErrNotExist, "none/a": os.ErrNotExist, "file/a/b": syscall.ENOTDIR} {
		if got, err := resolveLinks(in(path), nil); !errors.Is(err, want) {
			t.Errorf("%s leads to %s, %v; want %v", path, got, err, want)
		}
	}
}
