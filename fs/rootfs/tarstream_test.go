package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// tarOf is the archive of a file system that has layers.
func tarOf(t testing.TB, f *Filesystem, layers [][]byte, left *[]string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := f.WriteTar(t.Context(), &b, func(layer int) readat.Reader { return readat.Bytes(layers[layer]) }, func(e *EntryError) {
		if left != nil {
			*left = append(*left, e.Error())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.TarSize(t.Context())
	if err != nil || size != int64(b.Len()) {
		t.Errorf("TarSize is %d (%v), and %d bytes were written", size, err, b.Len())
	}
	return b.Bytes()
}

// inOneLayer is seen without what an archive has no place for: that a file has
// names which a layer above hides.
func inOneLayer(seen []seenFile) []seenFile {
	names := map[uint64]uint64{}
	for _, f := range seen {
		names[f.Ino]++
	}
	seen = slices.Clone(seen)
	for i, f := range seen {
		if f.Mode&0o170000 != formats[tar.TypeDir] {
			seen[i].Links = names[f.Ino]
		}
	}
	return seen
}

// TestTarStreamOfRandomStacks: the archive of an image is, as a single layer, the
// same file system; and containerd, which unpacks it, has what it has of the layers
// on overlayfs.
func TestTarStreamOfRandomStacks(t *testing.T) {
	links := 0
	for seed := range uint64(40) {
		g := newGenerator(t, 1000+seed)
		for range 1 + g.IntN(6) {
			g.layer(g.IntN(30))
		}
		f := mergeOf(t, g.ours, nil)
		archive := tarOf(t, f, g.ours, nil)
		if again := tarOf(t, mergeOf(t, g.ours, nil), g.ours, nil); !bytes.Equal(archive, again) {
			t.Errorf("seed %d: two archives of the same layers differ", seed)
		}
		want := lines(inOneLayer(see(t, f, g.ours)), true)
		var hidden []string
		merged := mergeOf(t, [][]byte{archive}, &hidden)
		if d := difference(lines(see(t, merged, [][]byte{archive}), true), want); d != "" || hidden != nil {
			t.Errorf("seed %d: the archive, as a layer, differs:\n%s%q\n%s", seed, d, hidden, g)
		}
		if seed%8 != 0 {
			continue
		}
		theirs, err := unpacked(t, "directory", [][]byte{archive})
		if err != nil {
			t.Fatalf("%v\n%s", err, g)
		}
		overlaid, err := unpacked(t, "overlay", g.theirs)
		if err != nil {
			t.Fatalf("%v\n%s", err, g)
		}
		if d := difference(lines(theirs, true), lines(inOneLayer(overlaid), true)); d != "" {
			t.Errorf("seed %d: what containerd unpacks differs:\n%s%s", seed, d, g)
		}
		links += bytes.Count(archive, []byte{tar.TypeLink})
	}
	if links == 0 {
		t.Error("no archive has a hard link")
	}
}

// odd has what is hard for archives.
func odd(t testing.TB) [][]byte {
	when := time.Unix(1_700_000_000, 123456789)
	long := strings.Repeat("long/", 60) + "name"
	lower := layerOf(t, []testEntry{
		dir("d").mode(0o1777).with(func(h *tar.Header) { h.ModTime = when; h.Format = tar.FormatPAX }),
		file("d/caps", "c").mode(0o4755).xattr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		file("d/attributes", "a").xattr("user.empty", "").xattr("user.binary", "\x00\n=\xff"),
		file("d/not utf-8 \xff", "n").with(func(h *tar.Header) { h.Format = tar.FormatGNU }),
		symlink("d/to not utf-8", "not utf-8 \xff").with(func(h *tar.Header) { h.Format = tar.FormatGNU }),
		file("d/grün", "ü").with(func(h *tar.Header) { h.Uid, h.Gid = 1<<30, 70000; h.ModTime = when; h.Format = tar.FormatPAX }),
		file(long, "l"),
		hardlink(long+"2", long),
		symlink("d/dangling", strings.Repeat("x/", 200)),
		hardlink("d/of a link", "d/dangling"),
		fifo("d/fifo"),
		device("d/null", 1, 3),
		device("d/of no Linux", 1<<21, 0),
		file("d/empty", ""),
		file("gone", "g"),
		file("kept", strings.Repeat("k", 3<<20)),
		hardlink("also kept", "kept"),
	})
	upper := layerOf(t, []testEntry{file(".wh.gone", ""), dir("d").mode(0o750), file("kept", "new"), file("dir without an entry/file", "f")})
	return [][]byte{lower, upper}
}

// TestTarStreamHoldsWhatIsOdd: names of any bytes and length, times to the nanosecond,
// large owners, attributes of any bytes, hard links of links, what a layer replaced.
func TestTarStreamHoldsWhatIsOdd(t *testing.T) {
	layers := odd(t)
	f := mergeOf(t, layers, nil)
	var left []string
	archive := tarOf(t, f, layers, &left)
	if want := []string{`entry "d/of no Linux": device 2097152:0: an archive has no such number, and neither has Linux`}; !slices.Equal(left, want) {
		t.Errorf("left out: %q, want %q", left, want)
	}
	var want []seenFile
	for _, s := range inOneLayer(see(t, f, layers)) {
		if string(s.Name) != "d/of no Linux" {
			want = append(want, s)
		}
	}
	merged := mergeOf(t, [][]byte{archive}, nil)
	if d := difference(lines(see(t, merged, [][]byte{archive}), true), lines(want, true)); d != "" {
		t.Errorf("the archive, as a layer, differs:\n%s", d)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Name == "d/not utf-8 \xff" && h.PAXRecords["hdrcharset"] != "BINARY" {
			t.Errorf("%q is not said to be bytes", h.Name)
		}
	}
	if !slices.IsSorted(names[:2]) || names[0] != "also kept" || names[1] != "d/" {
		t.Errorf("the archive begins with %q", names[:2])
	}
}

// TestTarStreamIsUnpacked: tar and bsdtar make of it what containerd makes of the layers.
func TestTarStreamIsUnpacked(t *testing.T) {
	if os.Getuid() != 0 {
		gate.Missing(t, "only root can unpack owners and devices")
	}
	layers := odd(t)
	archive := tarOf(t, mergeOf(t, layers, nil), layers, nil)
	for _, program := range []struct {
		name string
		args []string
	}{
		{"tar", []string{"--xattrs", "--xattrs-include=*", "-x", "--numeric-owner", "-p"}},
		{"bsdtar", []string{"-x", "-p", "--numeric-owner"}},
	} {
		t.Run(program.name, func(t *testing.T) {
			if _, err := exec.LookPath(program.name); err != nil {
				t.Skip(err)
			}
			root := t.TempDir()
			c := exec.CommandContext(t.Context(), program.name, append(program.args, "-C", root, "-f", "-")...)
			c.Stdin = bytes.NewReader(archive)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			stat := func(name, format string) string {
				out, err := exec.CommandContext(t.Context(), "stat", "-c", format, filepath.Join(root, name)).CombinedOutput()
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return strings.TrimSpace(string(out))
			}
			long := strings.Repeat("long/", 60) + "name"
			for _, c := range []struct{ name, format, want string }{
				{"d", "%a %F", "750 directory"},
				{"d/caps", "%a %s", "4755 1"},
				{"d/grün", "%u %g %Y %y", fmt.Sprintf("%d 70000 1700000000", 1<<30)},
				{"d/grün", "%.9Y", "1700000000.123456789"},
				{"d/not utf-8 \xff", "%s", "1"},
				{"d/fifo", "%F", "fifo"},
				{"d/null", "%F %t %T", "character special file 1 3"},
				{long, "%h", "2"},
				{long + "2", "%h", "2"},
				{"kept", "%s %h", "3 1"},
				{"also kept", "%s %h", fmt.Sprint(3<<20, " 1")},
				{"dir without an entry", "%a %Y", "755 0"},
			} {
				if got := stat(c.name, c.format); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s: %s, want %s", c.name, got, c.want)
				}
			}
			if a, b := stat("d/dangling", "%i"), stat("d/of a link", "%i"); a != b {
				t.Errorf("a hard link of a symbolic link is another file")
			}
			if _, err := os.Lstat(filepath.Join(root, "gone")); err == nil {
				t.Error("a file that is gone is there")
			}
			attributes, err := exec.CommandContext(t.Context(), "getfattr", "-d", "-m", "-", "-e", "hex", filepath.Join(root, "d/caps"), filepath.Join(root, "d/attributes")).CombinedOutput()
			if errors.Is(err, exec.ErrNotFound) {
				return
			}
			for _, want := range []string{"security.capability=0x0100000200200000", "user.binary=0x000a3dff"} {
				if !strings.Contains(string(attributes), want) {
					t.Errorf("no %s in\n%s", want, attributes)
				}
			}
		})
	}
}

// TestTarStreamEnds: with its context, with its writer, and with what a layer fails with.
func TestTarStreamEnds(t *testing.T) {
	layers := odd(t)
	f := mergeOf(t, layers, nil)
	plain := func(layer int) readat.Reader { return readat.Bytes(layers[layer]) }
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if err := f.WriteTar(ctx, io.Discard, plain, nil); !errors.Is(err, reason) {
		t.Errorf("of a context that has ended: %v", err)
	}
	if _, err := f.TarSize(ctx); !errors.Is(err, reason) {
		t.Errorf("TarSize of a context that has ended: %v", err)
	}
	if err := f.WriteTar(t.Context(), &full{2 << 20}, plain, nil); !errors.Is(err, errFull) {
		t.Errorf("of a writer that is full: %v", err)
	}
	cut := func(layer int) readat.Reader { return readat.Bytes(layers[layer][:len(layers[layer])/2]) }
	if err := f.WriteTar(t.Context(), io.Discard, cut, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a layer that ends early: %v", err)
	}
}

// TestContentsOfSparseFiles reads files with holes at random.
func TestContentsOfSparseFiles(t *testing.T) {
	g := newGenerator(t, 5)
	plain := content(5, 1<<16)
	for range 50 {
		e := Entry{Type: tar.TypeReg, Data: g.Int64N(1 << 12), Extents: []Extent{}}
		for at := g.Int64N(3000); len(e.Extents) < 1+g.IntN(5); {
			length := g.Int64N(5000)
			e.Extents = append(e.Extents, Extent{at, length})
			at += length + g.Int64N(3000)
			e.Size = at
		}
		if g.IntN(4) == 0 {
			e.Size, e.Extents = g.Int64N(20000), nil
		}
		want := expand(t, plain, e)
		r := e.Contents(readat.Bytes(plain))
		if r.Size() != e.Size {
			t.Fatalf("%+v has %d bytes", e, r.Size())
		}
		for range 50 {
			off, n := g.Int64N(e.Size+2), g.IntN(6000)
			p := make([]byte, n)
			got, err := r.ReadAt(t.Context(), p, off)
			left := want[min(off, e.Size):]
			if wanted := min(n, len(left)); got != wanted || !bytes.Equal(p[:got], left[:got]) || got < n && !errors.Is(err, io.EOF) || got == n && n < len(left) && err != nil {
				t.Fatalf("%+v: ReadAt(%d, %d) is %d, %v", e, off, n, got, err)
			}
		}
	}
}
