//go:build linux

package fs

import (
	"context"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// keptFiles is a root with files as they are in an image, which count what is read of them.
type keptFiles struct {
	content map[string]string
	kept    map[string]bool // those that are on disk

	mu    sync.Mutex
	reads map[string]string // what was read of each, by what: "kept" or "read"; guarded by mu
}

func (k *keptFiles) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | 0o555, Ino: 2, Lifetime: tree.Forever}, nil
}

func (k *keptFiles) Lookup(_ context.Context, name string) (tree.Child, error) {
	if _, ok := k.content[name]; !ok {
		return tree.Child{}, iofs.ErrNotExist
	}
	return tree.Child{Node: keptFile{k, name}, Lifetime: tree.Forever}, nil
}

func (k *keptFiles) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(func(tree.Entry, error) bool) {}
}

func (k *keptFiles) note(name, how string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads[name] += how + " "
}

func (k *keptFiles) noted(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reads[name]
}

// Inner returns the file that has a number: where its name is among the others.
func (k *keptFiles) Inner(number uint64) tree.Inner {
	names := slices.Sorted(maps.Keys(k.content))
	if number >= uint64(len(names)) {
		return nil
	}
	return keptFile{k, names[number]}
}

func (k *keptFiles) Path(number uint64) string { return k.Inner(number).(keptFile).name }

type keptFile struct {
	of   *keptFiles
	name string
}

func (f keptFile) Attr(context.Context) (tree.Attr, error) {
	_, number := f.Origin()
	return tree.Attr{
		Mode: 0o644, Size: f.Size(), Ino: 10 + number, Lifetime: tree.Forever, Recorded: &tree.Recorded{Links: 1},
	}, nil
}

func (f keptFile) Origin() (from tree.Origin, number uint64) {
	return f.of, uint64(slices.Index(slices.Sorted(maps.Keys(f.of.content)), f.name))
}

func (f keptFile) Attribute(context.Context, string) (string, bool, error) { return "", false, nil }

func (f keptFile) Attributes(context.Context) ([]tree.Attribute, error) { return nil, nil }

func (f keptFile) Open(context.Context) (tree.OpenFile, error) { return f, nil }

func (f keptFile) Size() int64 { return int64(len(f.of.content[f.name])) }

func (f keptFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	f.of.note(f.name, "read")
	return strings.NewReader(f.of.content[f.name]).ReadAt(p, off)
}

func (f keptFile) ReadKept(p []byte) bool {
	f.of.note(f.name, "kept")
	copy(p, f.of.content[f.name])
	return f.of.kept[f.name]
}

func (f keptFile) Verified() bool { return true }

func (f keptFile) Close() error { return nil }

var (
	_ tree.OpenFile = keptFile{}
	_ tree.KeptFile = keptFile{}
	_ tree.Inner    = keptFile{}
	_ io.Closer     = keptFile{}
)

// TestGiven: of a small file in an image whose bytes are on disk the kernel asks for none, also
// when it is opened again. What is not there, or large, it reads.
func TestGiven(t *testing.T) {
	page := strings.Repeat("0123456789abcdef", 256)
	k := &keptFiles{
		content: map[string]string{
			"byte": "b", "page": page, "pages": page + page + "and more", "most": strings.Repeat(page, maxGiven/len(page)),
			"larger": strings.Repeat(page, maxGiven/len(page)) + "l", "elsewhere": page + "e", "empty": "",
		},
		kept:  map[string]bool{"byte": true, "page": true, "pages": true, "most": true, "larger": true, "empty": true},
		reads: map[string]string{},
	}
	mountpoint, _ := mountTree(t, k, Options{})
	for name, content := range k.content {
		path := filepath.Join(mountpoint, name)
		for range 2 {
			if got := run(t, "cat", path); got != content {
				t.Errorf("%s has %d bytes, want its %d", name, len(got), len(content))
			}
		}
		if got := run(t, "tail", "-c", "3", path); !strings.HasSuffix(content, got) || len(got) != min(3, len(content)) {
			t.Errorf("%s ends with %q", name, got)
		}
		noted, want := k.noted(name), "kept "
		switch name {
		case "empty":
			want = ""
		case "larger":
			want = strings.Repeat("read ", strings.Count(noted, "read"))
		case "elsewhere":
			want = "kept " + strings.Repeat("read ", strings.Count(noted, "read"))
		}
		if reads := strings.Contains(noted, "read"); noted != want || reads != (name == "larger" || name == "elsewhere") {
			t.Errorf("%s: it was asked for %q, want %q", name, fmt.Sprint(noted), want)
		}
	}
}

// TestGivenPlaces: a file that is opened while the kernel is given as many as may be at once is read,
// and is not given later.
func TestGivenPlaces(t *testing.T) {
	k := &keptFiles{
		content: map[string]string{"one": "its bytes", "other": "those of another"},
		kept:    map[string]bool{"one": true, "other": true},
		reads:   map[string]string{},
	}
	mountpoint, _ := mountTree(t, k, Options{})
	read := func(name string) {
		if got := run(t, "cat", filepath.Join(mountpoint, name)); got != k.content[name] {
			t.Errorf("%s is %q", name, got)
		}
	}
	for range maxGiving {
		giving <- struct{}{}
	}
	read("one")
	for range maxGiving {
		<-giving
	}
	read("one")
	read("other")
	if one, other := k.noted("one"), k.noted("other"); one != "read " || other != "kept " {
		t.Errorf("it was asked for %q and %q", one, other)
	}
}

// TestGivenOnce: a file is given once, until the kernel forgets it; few of very many are taken
// for one that was.
func TestGivenOnce(t *testing.T) {
	const files = 200_000
	i := &innerImage{slot: 3}
	var g given
	taken := 0
	for n := range uint64(files) {
		if !g.add(i.id(n)) {
			taken++
		}
		if g.add(i.id(n)) {
			t.Fatalf("file %d is given twice", n)
		}
	}
	if taken > files/20 {
		t.Errorf("%d of %d files are taken for others", taken, files)
	}
	g.remove(i.id(7))
	if !g.add(i.id(7)) {
		t.Error("what was forgotten is not given again")
	}
}
