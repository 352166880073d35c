package rootfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"testing"
)

// A testEntry is an entry of a layer that a test makes.
type testEntry struct {
	tar.Header
	content string
}

func (e testEntry) with(change func(h *tar.Header)) testEntry {
	change(&e.Header)
	return e
}

func (e testEntry) mode(m int64) testEntry { return e.with(func(h *tar.Header) { h.Mode = m }) }

func (e testEntry) xattr(name, value string) testEntry {
	return e.with(func(h *tar.Header) {
		records := map[string]string{xattrRecord + name: value}
		for k, v := range h.PAXRecords {
			records[k] = v
		}
		h.PAXRecords = records
		h.Format = tar.FormatPAX
	})
}

func file(name, content string) testEntry {
	return testEntry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

func dir(name string) testEntry {
	return testEntry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func symlink(name, target string) testEntry {
	return testEntry{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink, Mode: 0o777}, ""}
}

func hardlink(name, target string) testEntry {
	return testEntry{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink, Mode: 0o644}, ""}
}

func device(name string, major, minor int64) testEntry {
	return testEntry{tar.Header{Name: name, Typeflag: tar.TypeChar, Mode: 0o600, Devmajor: major, Devminor: minor}, ""}
}

func fifo(name string) testEntry {
	return testEntry{tar.Header{Name: name, Typeflag: tar.TypeFifo, Mode: 0o622}, ""}
}

// layerOf packs a layer.
func layerOf(t testing.TB, entries []testEntry) []byte {
	headers := make([]tar.Header, len(entries))
	contents := map[int]string{}
	for i, e := range entries {
		headers[i], contents[i] = e.Header, e.content
	}
	return archiveOf(t, headers, contents)
}

// treeOf indexes a layer. What cannot be shown is appended to hidden.
func treeOf(t testing.TB, layer []byte, hidden *[]string) *LayerTree {
	t.Helper()
	report := func(e *EntryError) {
		if hidden != nil {
			*hidden = append(*hidden, e.Error())
		}
	}
	table, err := Scan(bytes.NewReader(layer), report)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := NewLayerTree(table, report)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// mergeOf lays layers over each other.
func mergeOf(t testing.TB, layers [][]byte, hidden *[]string) *Filesystem {
	t.Helper()
	var trees []*LayerTree
	for _, layer := range layers {
		trees = append(trees, treeOf(t, layer, hidden))
	}
	return NewFilesystem(trees, func(_ int, e *EntryError) {
		if hidden != nil {
			*hidden = append(*hidden, e.Error())
		}
	})
}

// A seenFile is what is seen of one file, by whatever looks.
type seenFile struct {
	Name         []byte
	Mode         uint32 // with the type, as in st_mode
	UID, GID     uint32
	Links        uint64
	Ino          uint64
	Size         int64
	Seconds      int64
	Nanos        int64
	Major, Minor uint32
	Target       []byte
	Xattrs       map[string][]byte
	SHA256       string
}

// formats are the types of st_mode.
var formats = map[byte]uint32{
	tar.TypeReg: 0o100000, tar.TypeSymlink: 0o120000, tar.TypeChar: 0o020000,
	tar.TypeBlock: 0o060000, tar.TypeDir: 0o040000, tar.TypeFifo: 0o010000,
}

// see lists a file system.
func see(t testing.TB, f *Filesystem, layers [][]byte) []seenFile {
	t.Helper()
	var seen []seenFile
	var visit func(name string, n Node)
	visit = func(name string, n Node) {
		seen = append(seen, seeNode(t, f, layers, name, n))
		last := ""
		for _, c := range f.Children(n) {
			if c.Name <= last {
				t.Errorf("%q is listed behind %q", c.Name, last)
			}
			last = c.Name
			if found, ok := f.Lookup(n, c.Name); !ok || f.Ino(found) != f.Ino(c.Node) || found.Type() != c.Node.Type() {
				t.Errorf("%q in %q is listed, but another one is found", c.Name, name)
			}
			visit(strings.TrimPrefix(name+"/"+c.Name, "/"), c.Node)
		}
	}
	visit("", f.Root())
	return seen
}

func seeNode(t testing.TB, f *Filesystem, layers [][]byte, name string, n Node) seenFile {
	t.Helper()
	a := f.Attr(n)
	seen := seenFile{
		Name: []byte(name), Mode: formats[a.Type] | a.Mode, UID: a.UID, GID: a.GID, Links: uint64(a.Links), Ino: f.Ino(n),
		Size: a.Size, Seconds: a.ModTime.Unix(), Nanos: int64(a.ModTime.Nanosecond()), Major: a.Devmajor, Minor: a.Devminor,
		Target: []byte(a.Target), Xattrs: map[string][]byte{},
	}
	for _, x := range a.Xattrs {
		seen.Xattrs[x.Name] = []byte(x.Value)
	}
	if a.Type != n.Type() {
		t.Errorf("%q is of type %c, and its attributes of %c", name, n.Type(), a.Type)
	}
	layer, e, ok := f.Contents(n)
	if ok != (a.Type == tar.TypeReg) {
		t.Errorf("%q of type %c has contents: %v", name, a.Type, ok)
	}
	if ok {
		if e.Size != a.Size {
			t.Errorf("%q has a size of %d and %d bytes", name, a.Size, e.Size)
		}
		sum := sha256.Sum256(expand(t, layers[layer], e))
		seen.SHA256 = hex.EncodeToString(sum[:])
	}
	return seen
}

// lines writes what was seen so that differences can be read. Numbers of inodes
// differ, so that it says which name is the first of a file.
func lines(seen []seenFile, times bool) []string {
	first := map[uint64]string{}
	sort.Slice(seen, func(i, j int) bool { return string(seen[i].Name) < string(seen[j].Name) })
	var written []string
	for _, f := range seen {
		isDir := f.Mode&0o170000 == 0o040000
		line := fmt.Sprintf("%q %o %d:%d", f.Name, f.Mode, f.UID, f.GID)
		if !isDir {
			if _, ok := first[f.Ino]; !ok {
				first[f.Ino] = string(f.Name)
			}
			line += fmt.Sprintf(" size %d links %d of %q device %d:%d", f.Size, f.Links, first[f.Ino], f.Major, f.Minor)
			if times {
				line += fmt.Sprintf(" time %d.%09d", f.Seconds, f.Nanos)
			}
		}
		if len(f.Target) > 0 {
			line += fmt.Sprintf(" -> %q", f.Target)
		}
		if f.SHA256 != "" {
			line += " " + f.SHA256[:12]
		}
		if len(f.Xattrs) > 0 {
			line += fmt.Sprintf(" %q", f.Xattrs)
		}
		written = append(written, line)
	}
	sort.Strings(written)
	return written
}

// difference says how two lists of lines differ: what only one of them has.
func difference(ours, theirs []string) string {
	var b strings.Builder
	for len(ours) > 0 || len(theirs) > 0 {
		switch {
		case len(theirs) == 0 || len(ours) > 0 && ours[0] < theirs[0]:
			fmt.Fprintf(&b, "ours:   %s\n", ours[0])
			ours = ours[1:]
		case len(ours) == 0 || theirs[0] < ours[0]:
			fmt.Fprintf(&b, "theirs: %s\n", theirs[0])
			theirs = theirs[1:]
		default:
			ours, theirs = ours[1:], theirs[1:]
		}
	}
	return b.String()
}

// summary is a file system in few words: what a table of cases can state.
func summary(t testing.TB, f *Filesystem, layers [][]byte) string {
	t.Helper()
	first := map[uint64]string{}
	var words []string
	var visit func(name string, n Node)
	visit = func(name string, n Node) {
		a := f.Attr(n)
		word := name
		switch a.Type {
		case tar.TypeDir:
			word += "/"
			if a.Mode != 0o755 {
				word += fmt.Sprintf("(%o)", a.Mode)
			}
		case tar.TypeSymlink:
			word += "->" + a.Target
		case tar.TypeReg:
			layer, e, _ := f.Contents(n)
			word += "=" + string(expand(t, layers[layer], e))
		case tar.TypeChar, tar.TypeBlock:
			word += fmt.Sprintf("=%c%d:%d", a.Type, a.Devmajor, a.Devminor)
		case tar.TypeFifo:
			word += "|"
		}
		if a.Links > 1 {
			if _, ok := first[f.Ino(n)]; !ok {
				first[f.Ino(n)] = name
			}
			word += fmt.Sprintf("(%d of %s)", a.Links, first[f.Ino(n)])
		}
		if n != f.Root() {
			words = append(words, word)
		}
		for _, c := range f.Children(n) {
			visit(strings.TrimPrefix(name+"/"+c.Name, "/"), c.Node)
		}
	}
	visit("", f.Root())
	return strings.Join(words, " ")
}
