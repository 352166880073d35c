//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestReadOnly: "The mount is read-only."
func TestReadOnly(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	image := m.repository("a") + "/tags/1"
	for _, c := range []string{
		"rm -f manifest.json", "touch manifest.json", "touch new", "mkdir new", "rmdir ../1", "mv digest other",
		"ln digest other", "ln -s digest other", "mkfifo new", "chmod 600 digest", "chown 1 digest",
		"truncate -s 0 digest", "echo > digest", "echo >> new",
	} {
		out, err := try(t, "bash", "-c", "cd "+image+" && "+c)
		if err == nil || !strings.Contains(out, "Read-only file system") {
			t.Errorf("%s: %v, %q; want: Read-only file system", c, err, out)
		}
	}
	if got := run(t, "ls", image); got != "config.json\ndigest\ndocker-save.tar\nimage.tar\nlayers\nmanifest.json\noci\nreferrers\nresolved-digest\nresolved-manifest.json\nrootfs\n" {
		t.Errorf("afterwards the directory is %q", got)
	}
}

// TestListing: "A listing shows each name once, with the inode number that the
// name has, and may be read again from any place."
func TestListing(t *testing.T) {
	m := mountRegistry(t, Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}})
	d := m.registry.Push(t, "a", "", image)
	const tags = 2500
	want := make([]string, tags)
	for i := range tags {
		want[i] = fmt.Sprintf("v%04d", i)
		m.registry.Tag("a", want[i], d)
	}
	dir := m.repository("a") + "/tags"
	got := strings.Fields(reader(t, listTwice, dir))
	for pass, names := range [][]string{got[:len(got)/2], got[len(got)/2:]} {
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Fatalf("pass %d: %d names, want %d", pass, len(names), tags)
		}
	}
	if n := m.registry.Count(registrytest.Tags); n != 3 {
		t.Errorf("%d pages of tags asked for, want 3 in all", n)
	}
	listed := strings.Fields(run(t, "ls", "-Ui", dir))                                // from the listing
	looked := strings.Fields(run(t, "bash", "-c", "cd "+dir+" && stat -c '%i %n' *")) // by name
	if !slices.Equal(listed, looked) {
		t.Errorf("inodes as listed:\n%.200s\nas looked up:\n%.200s", listed, looked)
	}
	if n := m.registry.Count(registrytest.Manifest); n != 0 {
		t.Errorf("listing and looking up %d tags made %d manifest requests", tags, n)
	}
}

// TestListingBegins: "It begins to appear with the first page of tags." The page is
// far smaller than the buffer of a program that lists, and the next never comes.
func TestListingBegins(t *testing.T) {
	more := make(chan struct{})
	defer close(more)
	dir, _ := mountTree(t, slowDir{testDir{0o555, 10, nil}, func(n int) error {
		if n == 5 {
			<-more
		}
		return nil
	}}, Options{})
	if got := reader(t, listFirst, dir); got != "0\n1\n2\n3\n4\n" {
		t.Errorf("what appears is %q", got)
	}
}

// TestListingFails has a program read on after an error: it gets the error again,
// no name a second time, and all of them once it goes back to the beginning.
func TestListingFails(t *testing.T) {
	broken := true
	dir, _ := mountTree(t, slowDir{testDir{0o555, 10, nil}, func(n int) error {
		if n == 5 && broken {
			broken = false
			return errors.New("broken")
		}
		return nil
	}}, Options{})
	if got, want := reader(t, listFailing, dir), "5 entries\nEIO\nEIO\n9 entries\n"; got != want {
		t.Errorf("the reader got %q, want %q", got, want)
	}
}

// slowDir lists nine names, each when asked.
type slowDir struct {
	testDir
	before func(n int) error
}

func (d slowDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for n := range 9 {
			if err := d.before(n); err != nil {
				yield(tree.Entry{}, err)
				return
			}
			if !yield(tree.Entry{Name: fmt.Sprint(n), Ino: 99}, nil) {
				return
			}
		}
	}
}

// TestSync: sync(1) of a file that is only read.
func TestSync(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	run(t, "sync", m.repository("a")+"/tags/1/image.tar", m.repository("a")+"/tags/1")
}

// TestAttributes: what stat shows.
func TestAttributes(t *testing.T) {
	m := mountRegistry(t, Options{UID: 7, GID: 8})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000}}))
	tag := m.repository("a") + "/tags/1"
	for path, want := range map[string]string{
		m.dir:                 "555 directory 7 8 1 0",
		tag:                   "555 directory 7 8 1 0",
		tag + "/digest":       "444 regular file 7 8 1 72",
		m.dir + "/.ocidistfs": "555 directory 7 8 1 0",
	} {
		if got := run(t, "stat", "-c", "%a %F %u %g %h %s", path); got != want+"\n" {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	// A file without blocks is a hole to tar -S, which would archive zeros.
	if got := strings.TrimSpace(run(t, "stat", "-c", "%b", tag+"/image.tar")); got == "0" {
		t.Error("image.tar has no blocks")
	}
	if n := m.registry.Count(registrytest.Blob); n != 0 {
		t.Errorf("stat made %d blob requests", n)
	}
	run(t, "df", m.dir)
	mounts := run(t, "cat", "/proc/self/mountinfo")
	_, line, ok := strings.Cut(mounts, " "+m.dir+" ")
	line, _, _ = strings.Cut(line, "\n")
	options, kind, _ := strings.Cut(line, " - ")
	if !ok || !strings.HasPrefix(kind, fsType+" ") {
		t.Errorf("type %q, want %q", kind, fsType)
	}
	for _, o := range []string{"ro", "nosuid", "nodev", "noexec"} {
		if !slices.Contains(strings.Split(options, ","), o) {
			t.Errorf("options %q lack %s", options, o)
		}
	}
}
