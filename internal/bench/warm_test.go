package bench

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const (
	again    = ", again"         // by the same mount, after all was read once
	fromDisk = ", from the disk" // after the kernel has dropped what it had of any file
	cpFile   = "cp of the file"
	catFile  = "cat of the file"
	copyFile = "cp --reflink=never"
)

// nobody is a user that every system has.
var nobody = uint32(65534)

// warmComparisons have everything in the cache, and beside it a file with the
// same bytes. Both are in the kernel's memory.
func warmComparisons() []comparison {
	all := []comparison{{
		name: "warm-disk",
		sides: func(ctx context.Context, t *testing.T, b *bench) []side {
			return b.warm(ctx, t, b.scratch(t, b.dir)).cpSides("cp --reflink=never")
		},
		results: []result{
			{"warm, a new mount", cpTar, cpFile, "≤ 1.05"},
			{"warm, read before", cpTar + again, cpFile, "≤ 1.05"},
		},
	}}
	for _, kind := range []string{"xfs", "btrfs", "ext4"} {
		cat, pulled := "≤ 1.2", "≤ 0.02"
		if kind == "ext4" { // it cannot clone
			cat, pulled = "report; aim ≤ 5", "report"
		}
		all = append(all, comparison{
			name: "warm-" + kind, needs: mkfs[kind][:1], root: true,
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				w := b.warm(ctx, t, b.filesystem(ctx, t, kind, b.room()))
				return append(w.catSides(), w.pullSides()...)
			},
			results: []result{
				{"warm, " + kind + ", a new mount", catTar, catFile, cat},
				{"warm, " + kind + ", read before", catTar + again, catFile, cat},
				{"warm, " + kind, pull, copyFile, pulled},
			},
		}, comparison{ // apart, since what it drops the others would miss
			name: "reboot-" + kind, needs: mkfs[kind][:1], root: true,
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				return b.warm(ctx, t, b.filesystem(ctx, t, kind, b.room())).diskSides()
			},
			results: []result{{"warm, " + kind + ", after a reboot", catTar + fromDisk, catFile + fromDisk, cat}},
		})
	}
	return append(all, comparison{
		name: "warm-other", needs: mkfs["xfs"][:1], root: true,
		sides: func(ctx context.Context, t *testing.T, b *bench) []side {
			w := b.warm(ctx, t, b.filesystem(ctx, t, "xfs", b.room()))
			w.to = b.dir
			return w.cpSides("cp")
		},
		results: []result{
			{"warm, from xfs to another disk, a new mount", cpTar, cpFile, "≤ 1.05"},
			{"warm, from xfs to another disk, read before", cpTar + again, cpFile, "≤ 1.05"},
		},
	}, comparison{
		name: "warm-user", needs: []string{"fusermount3"}, root: true,
		sides: func(ctx context.Context, t *testing.T, b *bench) []side {
			openDevice(t)
			w := b.warm(ctx, t, b.scratch(t, b.dir))
			command{home: b.dir, args: []string{"chown", "-R", "65534:65534", w.dir}}.must(ctx, t)
			w.user = &nobody
			return w.catSides()
		},
		results: []result{
			{"warm, not root, a new mount", catTar, catFile, "report; aim ≤ 5"},
			{"warm, not root, read before", catTar + again, catFile, "report; aim ≤ 5"},
		},
	})
}

// A warm is a cache that has the big image, and a file beside it that is its
// image.tar.
type warm struct {
	*bench
	dir, cache, file string
	to               string  // the directory that is written to
	user             *uint32 // who mounts and reads
}

// warm fills a cache in a directory.
func (b *bench) warm(ctx context.Context, t *testing.T, dir string) *warm {
	t.Helper()
	w := &warm{bench: b, dir: dir, to: dir, cache: homeIn(t, dir, "cache"), file: filepath.Join(dir, "image.tar")}
	m := b.mount(ctx, t, w.cache)
	command{home: dir, args: []string{"cp", w.tar(m), w.file}}.must(ctx, t)
	m.stop(t)
	checkArchive(t, w.file)
	return w
}

func (w *warm) tar(m *mounted) string {
	return filepath.Join(m.tag(w.loopback.host, bigRepository, bigTag), "image.tar")
}

// A state is what the kernel has of the files before a run.
type state int

const (
	newMount   state = iota // those of the cache and the file to compare with
	readBefore              // also image.tar
	dropped                 // nothing
)

// ours runs a script on image.tar of a new mount, and on a file to write to.
func (w *warm) ours(name, script string, before state, check bool) side {
	return side{name, func(ctx context.Context, t *testing.T) sample {
		out := filepath.Join(w.scratch(t, w.to), "out.tar")
		m := w.mountAs(ctx, t, w.user, w.userHome(t), w.cache)
		read := func(script string) command {
			c := sh(w.dir, script, w.tar(m), out)
			c.user = w.user
			return c
		}
		switch before {
		case readBefore:
			read(`cat "$1" >/dev/null`).must(ctx, t)
		case dropped:
			dropCaches(t)
		}
		s := w.measure(ctx, t, w.loopback, m, read(script))
		if check {
			checkArchive(t, out)
		}
		return s
	}}
}

// theirs does the same with the file.
func (w *warm) theirs(name, script string, before state) side {
	return side{name, func(ctx context.Context, t *testing.T) sample {
		out := filepath.Join(w.scratch(t, w.to), "out.tar")
		readFile(t, w.file)
		if before == dropped {
			dropCaches(t)
		}
		c := sh(w.dir, script, w.file, out)
		c.user = w.user
		return w.measure(ctx, t, w.loopback, nil, c)
	}}
}

// cpSides takes the command that copies the file.
func (w *warm) cpSides(cp string) []side {
	const ours = `exec cp "$1" "$2"`
	return []side{
		w.ours(cpTar, ours, newMount, true), w.ours(cpTar+again, ours, readBefore, true),
		w.theirs(cpFile, "exec "+cp+` "$1" "$2"`, readBefore),
	}
}

const catScript = `exec cat "$1" >/dev/null`

func (w *warm) catSides() []side {
	return []side{
		w.ours(catTar, catScript, newMount, false), w.ours(catTar+again, catScript, readBefore, false),
		w.theirs(catFile, catScript, readBefore),
	}
}

func (w *warm) diskSides() []side {
	return []side{
		w.ours(catTar+fromDisk, catScript, dropped, false),
		w.theirs(catFile+fromDisk, catScript, dropped),
	}
}

func (w *warm) pullSides() []side {
	return []side{
		{pull, func(ctx context.Context, t *testing.T) sample {
			out := filepath.Join(w.scratch(t, w.dir), "out.tar")
			s := w.measure(ctx, t, w.loopback, nil, w.pullCommand(t, w.loopback.big(), out, w.cache))
			checkArchive(t, out)
			return s
		}},
		w.theirs(copyFile, `exec cp --reflink=never "$1" "$2"`, readBefore),
	}
}

// userHome is where the user mounts.
func (w *warm) userHome(t *testing.T) string {
	t.Helper()
	if w.user == nil {
		return w.home(t, "ocidistfs")
	}
	home := w.home(t, "user")
	for _, dir := range []string{home, filepath.Join(home, "tmp")} {
		if err := os.Chown(dir, int(*w.user), int(*w.user)); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// dropCaches makes the kernel forget what it has read, of all files.
func dropCaches(t *testing.T) {
	t.Helper()
	syscall.Sync() // what is not on the disk yet stays
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
}

// openDevice lets users open /dev/fuse, as udev does, where it is root's alone,
// until the test ends.
func openDevice(t *testing.T) {
	t.Helper()
	const device = "/dev/fuse"
	info, err := os.Stat(device)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o006 == 0o006 {
		return
	}
	if err := os.Chmod(device, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(device, info.Mode().Perm()); err != nil {
			t.Error(err)
		}
	})
}
