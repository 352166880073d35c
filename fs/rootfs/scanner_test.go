package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// archiveOf writes entries as a tar archive; what regular files hold is named by
// their place.
func archiveOf(t testing.TB, headers []tar.Header, contents map[int]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range headers {
		h := headers[i]
		h.Size = int64(len(contents[i]))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// scanAll reads an archive and fails the test at what it cannot read.
func scanAll(t testing.TB, archive []byte) ([]Entry, []string) {
	t.Helper()
	var hidden []string
	table, err := Scan(bytes.NewReader(archive), func(e *EntryError) { hidden = append(hidden, e.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for _, e := range table.All() {
		entries = append(entries, e)
	}
	return entries, hidden
}

// expand puts together what an entry holds.
func expand(t testing.TB, archive []byte, e Entry) []byte {
	t.Helper()
	if e.Extents == nil {
		return archive[e.Data : e.Data+e.Size]
	}
	whole := make([]byte, e.Size)
	at := e.Data
	for _, x := range e.Extents {
		at += int64(copy(whole[x.Offset:x.Offset+x.Length], archive[at:at+x.Length]))
	}
	if at != e.Data+e.Stored() {
		t.Errorf("%s takes %d bytes, not %d", e.Name, e.Stored(), at-e.Data)
	}
	return whole
}

func TestScanner(t *testing.T) {
	long := strings.Repeat("long/", 60) + "name"
	when := time.Unix(1_700_000_000, 123456789)
	headers := []tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o1777, ModTime: when},
		{Name: "dir/file", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 1000, Gid: 2000},
		{Name: "global", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "none", "SCHILY.xattr.user.g": "no"}},
		{Name: long, Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatGNU, Uid: 1 << 30},
		{Name: long + "pax", Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX, ModTime: when},
		{Name: "not utf-8 \xff\xfe", Typeflag: tar.TypeReg, Format: tar.FormatGNU},
		{Name: "link", Linkname: long, Typeflag: tar.TypeLink, Format: tar.FormatGNU},
		{Name: "symlink", Linkname: "../" + long, Typeflag: tar.TypeSymlink, Format: tar.FormatPAX},
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1 << 20},
		{Name: "fifo", Typeflag: tar.TypeFifo},
		{Name: "contiguous", Typeflag: tar.TypeCont},
		{Name: "volume", Typeflag: 'V'},
		{Name: "attributes", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.user.b": "2\x00", "SCHILY.xattr.user.a": "1", "SCHILY.xattr.trusted.overlay.opaque": "y",
		}},
		{Name: "/absolute/../up", Typeflag: tar.TypeReg},
		{Name: "empty", Typeflag: tar.TypeReg},
	}
	contents := map[int]string{1: "hello", 3: strings.Repeat("x", 512), 4: strings.Repeat("y", 513), 5: "bytes", 11: "seven", 13: "z", 14: "up"}
	archive := archiveOf(t, headers, contents)
	entries, hidden := scanAll(t, archive)

	want := []string{`entry "volume": unknown type 'V'`}
	if !reflect.DeepEqual(hidden, want) {
		t.Errorf("hidden: %q, not %q", hidden, want)
	}
	for i, h := range headers {
		if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == 'V' {
			continue
		}
		if len(entries) == 0 {
			t.Fatalf("nothing is left for %q", h.Name)
		}
		e := entries[0]
		entries = entries[1:]
		kind := h.Typeflag
		if kind == tar.TypeCont {
			kind = tar.TypeReg
		}
		if e.Name != h.Name || e.Type != kind || e.Mode != h.Mode || e.UID != h.Uid || e.GID != h.Gid ||
			e.Linkname != h.Linkname || e.Devmajor != h.Devmajor || e.Devminor != h.Devminor {
			t.Errorf("%+v is not as in %+v", e, h)
		}
		if h.ModTime.Equal(when) && e.ModTime.Unix() != when.Unix() {
			t.Errorf("%s is of %v", e.Name, e.ModTime)
		}
		if h.Format == tar.FormatPAX && h.ModTime.Equal(when) && !e.ModTime.Equal(when) {
			t.Errorf("%s is of %v", e.Name, e.ModTime)
		}
		if e.Type == tar.TypeReg && string(expand(t, archive, e)) != contents[i] {
			t.Errorf("%s is at %d, with %d bytes", e.Name, e.Data, e.Size)
		}
		attributes := []Xattr(nil)
		if h.Name == "attributes" {
			attributes = []Xattr{{"user.a", "1"}, {"user.b", "2\x00"}}
		}
		if !reflect.DeepEqual(e.Xattrs, attributes) {
			t.Errorf("%s has the attributes %q", e.Name, e.Xattrs)
		}
	}
	if len(entries) != 0 {
		t.Errorf("%+v is left", entries)
	}
}

// TestScannerLeavesTheRest: what follows the archive is for whoever computes the
// digest of the stream.
func TestScannerLeavesTheRest(t *testing.T) {
	archive := archiveOf(t, []tar.Header{{Name: "f", Typeflag: tar.TypeReg}}, map[int]string{0: "x"})
	stream := bytes.NewReader(append(bytes.Clone(archive), "rest"...))
	if _, err := Scan(stream, nil); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stream); err != nil || string(rest) != "rest" {
		t.Errorf("%q is left: %v", rest, err)
	}
}

// TestScannerErrors: an archive that ends within a header or a file is an error,
// and that of the stream comes through. One without the blocks that end it is none:
// containerd and docker take such an archive too.
func TestScannerErrors(t *testing.T) {
	archive := archiveOf(t, []tar.Header{{Name: "f", Typeflag: tar.TypeReg}, {Name: "g", Typeflag: tar.TypeReg}}, map[int]string{0: "xx", 1: "yy"})
	for _, n := range []int{1, 511, 512, 513, 1025, 1536, 1537} {
		if _, err := Scan(bytes.NewReader(archive[:n]), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	broken := errors.New("broken")
	if _, err := Scan(io.MultiReader(bytes.NewReader(archive[:700]), errorReader{broken}), nil); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Scan(strings.NewReader(strings.Repeat("no archive ", 100)), nil); !errors.Is(err, tar.ErrHeader) {
		t.Error(err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// TestSparse compares with what GNU tar packs, in each of its formats.
func TestSparse(t *testing.T) {
	gnuTar, err := exec.LookPath("tar")
	if err != nil {
		gate.Missing(t, "tar: %v", err)
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	files := map[string][]byte{}
	for name, layout := range map[string][]Extent{
		"holes":   {{0, 5000}, {1 << 20, 4096}, {3<<20 + 4096, 70_000}},
		"many":    nil,
		"nothing": {},
		"front":   {{1 << 20, 1}},
		"dense":   {{0, 100_000}},
	} {
		size := int64(5 << 20)
		if name == "many" { // more runs than one header holds
			for i := range int64(60) {
				layout = append(layout, Extent{i * 65536, 4096})
			}
		}
		if name == "dense" {
			size = 100_000
		}
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		whole := make([]byte, size)
		for _, x := range layout {
			for i := x.Offset; i < x.Offset+x.Length; i++ {
				whole[i] = byte(r.IntN(4)) // with zeros that are data
			}
			if _, err := f.WriteAt(whole[x.Offset:x.Offset+x.Length], x.Offset); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
		files[name] = whole
	}
	for _, format := range [][]string{
		{"--format=gnu"},
		{"--format=pax", "--sparse-version=0.0"},
		{"--format=pax", "--sparse-version=0.1"},
		{"--format=pax", "--sparse-version=1.0"},
	} {
		t.Run(strings.Join(format, " "), func(t *testing.T) {
			args := slices.Concat(format, []string{"--sparse", "--hole-detection=seek", "-C", dir, "-c", "."})
			archive, err := exec.Command(gnuTar, args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			entries, hidden := scanAll(t, archive)
			if len(hidden) > 0 || len(entries) != 1+len(files) {
				t.Fatalf("%d entries; hidden: %q", len(entries), hidden)
			}
			sparse := 0
			for _, e := range entries {
				if e.Type != tar.TypeReg {
					continue
				}
				if !bytes.Equal(expand(t, archive, e), files[filepath.Base(e.Name)]) {
					t.Errorf("%s holds something else", e.Name)
				}
				if e.Extents != nil {
					sparse++
				}
			}
			if sparse < 4 {
				t.Errorf("only %d files are sparse", sparse)
			}
		})
	}
}

// sparseArchive is an archive in GNU's old format with one file of nothing but a
// hole, followed by another file.
func sparseArchive(t testing.TB, size int64) []byte {
	header := archiveOf(t, []tar.Header{{Name: "hole", Typeflag: tar.TypeReg, Format: tar.FormatGNU}}, nil)[:tarBlock]
	header[156] = tar.TypeGNUSparse
	// A base-256 number: the real size.
	header[483] = 0x80
	binary.BigEndian.PutUint64(header[487:], uint64(size))
	sum := 0
	copy(header[148:156], "        ")
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(header, archiveOf(t, []tar.Header{{Name: "next", Typeflag: tar.TypeReg}}, map[int]string{0: "x"})...)
}

func TestSparseLimit(t *testing.T) {
	archive := sparseArchive(t, 1<<20)
	entries, hidden := scanAll(t, archive)
	if len(entries) != 2 || len(hidden) != 0 || !reflect.DeepEqual(entries[0].Extents, []Extent{{}}) || entries[0].Size != 1<<20 {
		t.Errorf("%+v; hidden: %q", entries, hidden)
	}
	for _, size := range []int64{maxSparse + 1, 1<<63 - 1} {
		archive = sparseArchive(t, size)
		entries, hidden = scanAll(t, archive)
		if len(entries) != 1 || len(hidden) != 1 || string(expand(t, archive, entries[0])) != "x" {
			t.Errorf("%+v; hidden: %q", entries, hidden)
		}
	}
}

// FuzzScan: whatever is read, the entries keep to the limits and hold what
// archive/tar says that they hold.
func FuzzScan(f *testing.F) {
	f.Add(archiveOf(f, []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir},
		{Name: "f", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}},
		{Name: "l", Linkname: "f", Typeflag: tar.TypeLink},
	}, map[int]string{1: "content"}))
	f.Add(sparseArchive(f, 100))
	if long := strings.Repeat("n", 200); true {
		f.Add(archiveOf(f, []tar.Header{{Name: long, Typeflag: tar.TypeReg, Format: tar.FormatGNU}}, map[int]string{0: long}))
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		var entries []Entry
		s := NewScanner(bytes.NewReader(archive))
		s.sparse = maxSparse - 1<<20 // no more than one can wait for
		allocates(t, archive, 4<<20, 64, func() {
			for {
				e, err := s.Next()
				var hidden *EntryError
				if errors.As(err, &hidden) {
					continue
				}
				if err != nil {
					break
				}
				if reason := e.check(); reason != "" {
					t.Fatal(reason)
				}
				entries = append(entries, e)
			}
		})
		again := tar.NewReader(bytes.NewReader(archive))
		for _, e := range entries {
			if e.Type != tar.TypeReg || e.Size > 1<<20 || e.Data+e.Stored() > int64(len(archive)) {
				continue
			}
			for {
				h, err := again.Next()
				if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
					t.Fatalf("%q is not there: %v", e.Name, err)
				}
				if h.Name == e.Name && h.Size == e.Size && (h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeCont || h.Typeflag == tar.TypeGNUSparse) {
					break
				}
			}
			content, err := io.ReadAll(again)
			if err == nil && !bytes.Equal(content, expand(t, archive, e)) {
				t.Fatalf("%q holds something else", e.Name)
			}
		}
	})
}
