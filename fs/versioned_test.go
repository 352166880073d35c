//go:build linux

package fs

import (
	"context"
	iofs "io/fs"
	"iter"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// versioned is a root with one directory, of which a test moves the version.
type versioned struct {
	mu      sync.Mutex
	version string
	known   bool
	names   []string
	lists   int // how often it was listed
}

func (v *versioned) set(version string, known bool, names ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.version, v.known, v.names = version, known, names
}

func (v *versioned) listed() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lists
}

func (v *versioned) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | 0o555, Ino: 2, Lifetime: tree.Forever}, nil
}

func (v *versioned) Lookup(_ context.Context, name string) (tree.Child, error) {
	if name != "image" {
		return tree.Child{}, iofs.ErrNotExist
	}
	return tree.Child{Node: versionedDir{v}, Lifetime: tree.Forever}, nil
}

func (v *versioned) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		yield(tree.Entry{Name: "image", Mode: iofs.ModeDir, Ino: 3}, nil)
	}
}

type versionedDir struct{ of *versioned }

func (d versionedDir) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | 0o555, Ino: 3, Lifetime: tree.Forever}, nil
}

func (d versionedDir) Lookup(context.Context, string) (tree.Child, error) {
	return tree.Child{}, iofs.ErrNotExist
}

func (d versionedDir) Version() (string, bool) {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	return d.of.version, d.of.known
}

func (d versionedDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	d.of.lists++
	names := d.of.names
	return func(yield func(tree.Entry, error) bool) {
		for i, name := range names {
			if !yield(tree.Entry{Name: name, Ino: uint64(10 + i)}, nil) {
				return
			}
		}
	}
}

// TestListingIsKept: the kernel lists a directory by itself as long as that has
// the version that it read, and reads it again when it has another.
func TestListingIsKept(t *testing.T) {
	v := &versioned{}
	mountpoint, _ := mountTree(t, v, Options{})
	for i, step := range []struct {
		version string
		known   bool
		names   []string
		want    string
		lists   int // of all steps so far
	}{
		{"1", true, []string{"a", "b"}, "a\nb\n", 1},
		{"1", true, []string{"not asked for"}, "a\nb\n", 1},
		{"2", true, []string{"c"}, "c\n", 2},
		{"2", true, []string{"not asked for"}, "c\n", 2},
		{"", false, []string{"d"}, "d\n", 3},
		{"1", true, []string{"a", "b"}, "a\nb\n", 4},
	} {
		v.set(step.version, step.known, step.names...)
		if got := run(t, "ls", "-U", filepath.Join(mountpoint, "image")); got != step.want || v.listed() != step.lists {
			t.Errorf("step %d: %q, listed %d times; want %q, %d", i, got, v.listed(), step.want, step.lists)
		}
	}
}
