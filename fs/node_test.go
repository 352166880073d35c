//go:build linux

package fs

import (
	"context"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"iter"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// A small tree of the test's own, for what the real one does not show.
type (
	testDir struct {
		mode    iofs.FileMode
		ino     uint64
		entries map[string]tree.Node
	}
	testFile struct {
		mode iofs.FileMode
		ino  uint64
		open func() tree.OpenFile
	}
	testBytes struct{ readat.Reader }
)

func (d testDir) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | d.mode, Ino: d.ino, Lifetime: tree.Forever}, nil
}

func (d testDir) Lookup(_ context.Context, name string) (tree.Child, error) {
	n, ok := d.entries[name]
	if !ok {
		return tree.Child{}, iofs.ErrNotExist
	}
	return tree.Child{Node: n, Lifetime: tree.Forever}, nil
}

func (d testDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for name := range d.entries {
			if !yield(tree.Entry{Name: name, Ino: 99}, nil) {
				return
			}
		}
	}
}

func (f testFile) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: f.mode, Ino: f.ino, Size: 6, ModTime: time.Unix(1, 0), Lifetime: tree.Forever}, nil
}

func (f testFile) Open(context.Context) (tree.OpenFile, error) {
	if f.open != nil {
		return f.open(), nil
	}
	return testBytes{readat.Bytes([]byte("hello\n"))}, nil
}

func (testBytes) Close() error   { return nil }
func (testBytes) Verified() bool { return true }

// panicking fails as no file should.
type panicking struct{ testBytes }

func (panicking) ReadAt(context.Context, []byte, int64) (int, error) { panic("at the disco") }

// nobody is a user who is neither the mounter nor root.
const nobody = 65534

// TestPermissions: "The mounter reads everything, others by mode bits, and only
// with --allow-other."
func TestPermissions(t *testing.T) {
	root := testDir{0o555, 10, map[string]tree.Node{
		"open":   testFile{mode: 0o444, ino: 11},
		"secret": testFile{mode: 0o400, ino: 12},
		"shut":   testDir{0o500, 13, map[string]tree.Node{"in": testFile{mode: 0o444, ino: 14}}},
		"blind":  testDir{0o511, 15, map[string]tree.Node{"in": testFile{mode: 0o444, ino: 16}}},
	}}
	for i, c := range []struct {
		allowOther bool
		uid        int
		command    string
		want       bool
	}{
		{true, 0, "cat open && cat secret && ls shut && cat shut/in && ls blind", true},
		{true, nobody, "cat open", true},
		{true, nobody, "cat secret", false},
		{true, nobody, "test -r secret", false},
		{true, nobody, "ls shut", false},
		{true, nobody, "cat shut/in", false},
		{true, nobody, "cat blind/in", true},
		{true, nobody, "ls blind", false},
		{false, 0, "cat open", true},
		{false, nobody, "cat open", false},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir, _ := mountTree(t, root, Options{AllowOther: c.allowOther})
			// The way there must be open to all.
			for d := filepath.Dir(dir); d != "/tmp" && d != "/"; d = filepath.Dir(d) {
				run(t, "chmod", "755", d)
			}
			shell := exec.Command("sh", "-c", "cd "+dir+" || exit 42; "+c.command)
			shell.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)}}
			out, err := shell.CombinedOutput()
			if (err == nil) != c.want || c.allowOther && shell.ProcessState.ExitCode() == 42 {
				t.Errorf("%s as %d: %v, %q; want success %t", c.command, c.uid, err, out, c.want)
			}
		})
	}
}

// TestPanic: a mistake of ours fails one operation, not the mount.
func TestPanic(t *testing.T) {
	dir, _ := mountTree(t, testDir{0o555, 10, map[string]tree.Node{
		"bad":  testFile{mode: 0o444, ino: 11, open: func() tree.OpenFile { return panicking{} }},
		"good": testFile{mode: 0o444, ino: 12},
	}}, Options{})
	if out, err := try(t, "cat", dir+"/bad"); err == nil || !strings.Contains(out, "Input/output error") {
		t.Errorf("cat bad: %v, %q; want: Input/output error", err, out)
	}
	if got := run(t, "cat", dir+"/good"); got != "hello\n" {
		t.Errorf("cat good: %q", got)
	}
	if got := run(t, "cat", dir+"/.ocidistfs/errors"); !strings.Contains(got, "panic: at the disco") {
		t.Errorf("errors: %q", got)
	}
}

// TestStatus: ".ocidistfs shows what the mount is and does; it is not listed."
func TestStatus(t *testing.T) {
	dir, _ := mountTree(t, testDir{0o555, 10, map[string]tree.Node{}}, Options{
		Status: func() any { return map[string]int{"answer": 42} },
	})
	if got := run(t, "ls", "-A", dir); got != "" {
		t.Errorf("the root lists %q", got)
	}
	if got := run(t, "ls", "-A", dir+"/.ocidistfs"); got != "errors\nstatus.json\n" {
		t.Errorf(".ocidistfs lists %q", got)
	}
	var status struct {
		Mount  map[string]int `json:"mount"`
		Errors []logEntry     `json:"errors"`
	}
	if err := json.Unmarshal([]byte(run(t, "cat", dir+"/.ocidistfs/status.json")), &status); err != nil {
		t.Fatal(err)
	}
	if status.Mount["answer"] != 42 || status.Errors == nil {
		t.Errorf("status %+v", status)
	}
}

// inImage is a testFile of an image.
type inImage struct {
	testFile
	image uint64
}

func (f inImage) Attr(ctx context.Context) (tree.Attr, error) {
	attr, err := f.testFile.Attr(ctx)
	attr.Recorded = &tree.Recorded{Links: 1, Image: f.image}
	return attr, err
}

// TestNumbersOfImages: what is in two images is never one file, whatever numbers their makers
// have found; what has one number in one image is.
func TestNumbersOfImages(t *testing.T) {
	holds := func(content string) func() tree.OpenFile {
		return func() tree.OpenFile { return testBytes{readat.Bytes([]byte(content))} }
	}
	dir, _ := mountTree(t, testDir{0o555, 10, map[string]tree.Node{
		"a":     inImage{testFile{0o444, 11, holds("first\n")}, 1},
		"other": inImage{testFile{0o444, 11, holds("other\n")}, 2},
		"same":  inImage{testFile{0o444, 11, holds("same!\n")}, 1},
	}}, Options{})
	if got := run(t, "sh", "-c", "cd "+dir+" && exec 3<a && cat a other same"); got != "first\nother\nfirst\n" {
		t.Errorf("they hold %q", got)
	}
}
