package main

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// testFile is a file of a tree that serves whatever it likes.
type testFile struct{ content string }

var (
	_ tree.File      = testFile{}
	_ tree.Described = testFile{}
	_ tree.Described = testDir{}
)

var testTime = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

func (f testFile) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: 0o444, Size: int64(len(f.content)), ModTime: testTime}, nil
}

func (f testFile) Open(context.Context) (tree.OpenFile, error) {
	if f.content == "" {
		return nil, errors.New("refused by the test")
	}
	return tree.OpenBytes([]byte(f.content)), nil
}

func (testFile) Known() bool { return true }

func (f testFile) Describe(context.Context) (tree.Description, error) {
	return tree.Description{
		Digest: registrytest.DigestOf([]byte(f.content)), MediaType: "text/plain", Size: int64(len(f.content)), Ref: "r/a@x", Registry: "r",
		Cached: 3, Annotations: []byte(strings.Repeat("x", 60_000)), // for which ext4 has no room
	}, nil
}

// testDir is a directory of files by whatever names.
type testDir map[string]tree.Node

func (d testDir) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | 0o555, ModTime: testTime}, nil
}

func (d testDir) Lookup(_ context.Context, name string) (tree.Child, error) {
	return tree.Child{Node: d[name]}, nil
}

func (d testDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for name, node := range d {
			attr, _ := node.Attr(context.Background())
			if !yield(tree.Entry{Name: name, Mode: attr.Mode.Type()}, nil) {
				return
			}
		}
	}
}

func (testDir) Known() bool { return true }

func (d testDir) Describe(context.Context) (tree.Description, error) {
	return tree.Description{Manifest: registrytest.DigestOf(nil), Size: tree.UnknownSize}, nil
}

// copyTestDir copies a directory into one that it returns, and what was told.
func copyTestDir(t *testing.T, d testDir, preserve bool) (dir, told string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "to")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := copying{recursive: true, preserve: preserve, openView: &openView{}, tally: tally{w: &said}, meter: &progress{}}
	err = c.node(t.Context(), root, "copy", rowOf(tree.Place{Node: d, Path: "x"}, "x"))
	if err := errors.Join(err, root.Close()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "copy"), said.String()
}

// namesBelow are the paths below a directory.
func namesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	if err := filepath.WalkDir(dir, func(path string, _ iofs.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCopyNames: "What cp copies is there whole or not at all, and nowhere but in the
// directory that it is copied to." Names of a tree that lead elsewhere are left out;
// what links on the disk do is in testdata/cp.txtar.
func TestCopyNames(t *testing.T) {
	dir, told := copyTestDir(t, testDir{
		"good": testFile{"1"}, "..": testFile{"2"}, "../up": testFile{"3"}, "a/b": testFile{"4"}, "/abs": testFile{"5"}, "": testFile{"6"},
		"sub": testDir{"../../up": testFile{"7"}, "fine": testFile{"8"}}, "../dir": testDir{"x": testFile{"9"}}, "refused": testFile{},
	}, false)
	if names := namesBelow(t, filepath.Dir(filepath.Dir(dir))); !slices.Equal(names, []string{"to", "to/copy", "to/copy/good", "to/copy/sub", "to/copy/sub/fine"}) {
		t.Errorf("%q", names)
	}
	if n := strings.Count(told, "is no name for a file"); n != 7 {
		t.Errorf("%d names were refused:\n%s", n, told)
	}
	if !strings.Contains(told, "copy/refused: x/refused: refused by the test") {
		t.Error(told)
	}
}

func TestCopyKeeps(t *testing.T) {
	for preserve, modes := range map[bool][2]iofs.FileMode{false: {0o755, 0o444}, true: {0o555, 0o444}} {
		dir, told := copyTestDir(t, testDir{"file": testFile{"content"}}, preserve)
		if told != "" {
			t.Error(told)
		}
		for i, path := range []string{dir, filepath.Join(dir, "file")} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != modes[i] || !info.ModTime().Equal(testTime) {
				t.Errorf("%s (exact: %t) is %v of %v, want %v of %v", path, preserve, info.Mode(), info.ModTime(), modes[i], testTime)
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || string(b) != "content" {
			t.Errorf("%q, %v", b, err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // so that it can be removed
			t.Error(err)
		}
	}
}

func TestIsBelow(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"a/b", "a", true},
		{"a/b", "", true},
		{"a/b/c", "a/b", true},
		{"a/b", "a/b", false},
		{"ab/c", "a", false},
		{"a", "a/b", false},
	} {
		if got := isBelow(c.path, c.dir); got != c.want {
			t.Errorf("%s below %q: %t", c.path, c.dir, got)
		}
	}
}
