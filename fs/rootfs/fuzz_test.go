package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzMerge takes its input for the names, targets and types of entries in several
// layers, by which every rule is reached sooner than by archives. Whatever it is,
// each name that is listed is found, is where it was, and has attributes.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("d:a\n-:a/b=1\nh:c>a/b\n\n-:a/.wh.b\nl:e>../a\n-:e/f\n\n-:a/.wh..wh..opq\nh:x>a/b\n"))
	f.Add([]byte("h:b>a\nh:a>b\n-:c\n\nh:d>c\nh:c>d\n\nd:c\n-:.wh.c\n-:../../c/x\nc:d\n"))
	f.Add([]byte("l:a>a\n-:a/b\nl:b>/c/../d\n-:b/x/y\nd:.\nd:..\n-:.wh.\n-:.wh...\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 4096 {
			return
		}
		var trees []*LayerTree
		for _, lines := range bytes.Split(input, []byte("\n\n")) {
			if len(trees) == 8 {
				break
			}
			tree, err := NewLayerTree(fuzzTable(lines), nil)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, tree)
			trees = append(trees, tree)
		}
		fs := NewFilesystem(trees, nil)
		checkMerge(t, fs, fs.Root(), map[uint64]string{}, "", new(int))
	})
}

var fuzzTypes = map[byte]byte{
	'-': tar.TypeReg, 'h': tar.TypeLink, 'l': tar.TypeSymlink, 'c': tar.TypeChar, 'b': tar.TypeBlock, 'd': tar.TypeDir, 'p': tar.TypeFifo,
}

// fuzzTable makes the table of a layer: a line is a type, a name, and a target
// behind ">" or a size behind "=".
func fuzzTable(lines []byte) *Table {
	var b TableBuilder
	for line := range bytes.SplitSeq(lines, []byte("\n")) {
		if len(line) < 2 || fuzzTypes[line[0]] == 0 {
			continue
		}
		name, target, _ := bytes.Cut(line[2:], []byte(">"))
		name, size, _ := bytes.Cut(name, []byte("="))
		// What the limits keep out is left out.
		_ = b.Add(Entry{Name: string(name), Linkname: string(target), Type: fuzzTypes[line[0]], Size: int64(len(size))})
	}
	return b.Table()
}

// checkTree looks whether a tree is one: each node but the root in one directory,
// under a name that is possible and found.
func checkTree(t testing.TB, tree *LayerTree) {
	t.Helper()
	next := uint32(1)
	for node := range uint32(tree.Len()) {
		if tree.first[node] != next {
			t.Fatalf("the children of node %d begin at %d, not at %d", node, tree.first[node], next)
		}
		last := ""
		for ; next < tree.first[node+1]; next++ {
			name := tree.name(next)
			if name <= last || name == "." || name == ".." || len(name) > maxComponent || bytes.ContainsAny([]byte(name), "/\x00") {
				t.Fatalf("node %d is called %q, behind %q", next, name, last)
			}
			if found, ok := tree.lookup(node, name); !ok || found != next {
				t.Fatalf("%q of node %d is not found", name, node)
			}
			if !tree.kinds[node].is(tar.TypeDir) {
				t.Fatalf("node %d is no directory and has %q", node, name)
			}
			last = name
		}
	}
	if int(next) != tree.Len() {
		t.Fatalf("%d of %d nodes are in a directory", next, tree.Len())
	}
	if !slices.IsSorted(tree.linked) {
		t.Fatal("the linked nodes are not sorted")
	}
	for _, i := range tree.inodes {
		if i.links > 0 && int(i.lead) >= tree.Len() {
			t.Fatalf("an inode of %d names leads to node %d", i.links, i.lead)
		}
	}
}

// checkMerge looks at all that is below a directory.
func checkMerge(t testing.TB, f *Filesystem, dir Node, seen map[uint64]string, path string, n *int) {
	last := ""
	for _, c := range f.Children(dir) {
		if *n++; *n > 100_000 {
			t.Fatal("more files than there can be")
		}
		if c.Name <= last {
			t.Fatalf("%q is listed behind %q", c.Name, last)
		}
		last = c.Name
		name := path + "/" + c.Name
		found, ok := f.Lookup(dir, c.Name)
		if !ok || f.Ino(found) != f.Ino(c.Node) || found.Type() != c.Node.Type() {
			t.Fatalf("%q is listed, and found: %v", name, ok)
		}
		a := f.Attr(c.Node)
		if a.Type != c.Node.Type() || a.Type == tar.TypeLink || formats[a.Type] == 0 || a.Links == 0 {
			t.Fatalf("%q is %+v", name, a)
		}
		if before, ok := seen[f.Ino(c.Node)]; ok && (a.Links < 2 || a.Type == tar.TypeDir) {
			t.Fatalf("%q and %q are one, with %d names", before, name, a.Links)
		}
		seen[f.Ino(c.Node)] = name
		if _, _, ok := f.Contents(c.Node); ok != (a.Type == tar.TypeReg) {
			t.Fatalf("%q of type %c has contents: %v", name, a.Type, ok)
		}
		if layer, entry := f.Source(c.Node); layer < 0 || entry < 0 && a.Type != tar.TypeDir {
			t.Fatalf("%q is from entry %d of layer %d", name, entry, layer)
		}
		if c.Node.IsDir() {
			checkMerge(t, f, c.Node, seen, name, n)
		}
	}
}

// TestRandomTrees is FuzzMerge with names that collide, in each run of the tests.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 11))
		var trees []*LayerTree
		for range 1 + r.IntN(5) {
			var b TableBuilder
			for range r.IntN(25) {
				g := &generator{Rand: r}
				h := g.entry().Header
				if err := b.Add(Entry{Name: h.Name, Linkname: h.Linkname, Type: h.Typeflag, Mode: h.Mode, Devmajor: h.Devmajor, Devminor: h.Devminor}); err != nil {
					t.Fatal(err)
				}
			}
			tree, err := NewLayerTree(b.Table(), nil)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, tree)
			trees = append(trees, tree)
		}
		f := NewFilesystem(trees, nil)
		checkMerge(t, f, f.Root(), map[uint64]string{}, fmt.Sprint(seed, ":"), new(int))
	}
}

// TestTreeLimits: what a few hostile entries would come to is refused, or hidden.
func TestTreeLimits(t *testing.T) {
	deep := ""
	for range MaxDepth {
		deep += "/d"
	}
	table := func(entries ...Entry) *Table {
		var b TableBuilder
		for _, e := range entries {
			if err := b.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		return b.Table()
	}
	link := func(name, target string) Entry { return Entry{Name: name, Linkname: target, Type: tar.TypeSymlink} }
	t.Run("a link adds to the depth", func(t *testing.T) {
		var hidden []string
		tree, err := NewLayerTree(table(Entry{Name: deep, Type: tar.TypeDir}, link("l", deep), Entry{Name: "l/x", Type: tar.TypeReg}), func(e *EntryError) { hidden = append(hidden, e.Reason) })
		if err != nil || tree.Len() != MaxDepth+2 || !slices.Equal(hidden, []string{tooDeep}) {
			t.Errorf("%d nodes, %q hidden: %v", tree.Len(), hidden, err)
		}
	})
	t.Run("links through links", func(t *testing.T) {
		// Each follows the one before it twice.
		entries := []Entry{link("l0", "x")}
		for i := 1; i < 40; i++ {
			entries = append(entries, link(fmt.Sprint("l", i), fmt.Sprintf("l%d/../l%d", i-1, i-1)))
		}
		entries = append(entries, Entry{Name: "l39/file", Type: tar.TypeReg})
		tree, err := NewLayerTree(table(entries...), nil)
		if err != nil || tree.Len() != len(entries)+1+1 {
			t.Errorf("%d nodes: %v", tree.Len(), err)
		}
	})
	t.Run("long links for each of many files", func(t *testing.T) {
		entries := []Entry{link("l", deep)}
		for i := range maxSteps/MaxDepth + 1 {
			entries = append(entries, Entry{Name: fmt.Sprint("l/", i), Type: tar.TypeReg})
		}
		if _, err := NewLayerTree(table(entries...), nil); err == nil {
			t.Error("there is no limit")
		}
	})
	t.Run("links to the layers below", func(t *testing.T) {
		var entries []Entry
		for i := range maxCrossing + 10 {
			entries = append(entries, Entry{Name: fmt.Sprint(i), Linkname: "below", Type: tar.TypeLink})
		}
		hidden := 0
		tree, err := NewLayerTree(table(entries...), func(*EntryError) { hidden++ })
		if err != nil || len(tree.crossing) != maxCrossing || hidden != 10 {
			t.Errorf("%d links, %d hidden: %v", len(tree.crossing), hidden, err)
		}
	})
	t.Run("a file of many links", func(t *testing.T) {
		entries := []Entry{{Name: "a", Type: tar.TypeReg}}
		for i := range 3 * maxUpdates {
			entries = append(entries, Entry{Name: fmt.Sprint(i), Linkname: "a", Type: tar.TypeLink, Xattrs: []Xattr{{"user.x", fmt.Sprint(i)}}})
		}
		tree, err := NewLayerTree(table(entries...), nil)
		if err != nil {
			t.Fatal(err)
		}
		f := NewFilesystem([]*LayerTree{tree}, nil)
		n, _ := f.Lookup(f.Root(), "a")
		if a := f.Attr(n); int(a.Links) != len(entries) || len(a.Xattrs) != 1 || len(tree.inodes[0].updates) != maxUpdates {
			t.Errorf("%+v of %d updates", a, len(tree.inodes[0].updates))
		}
	})
}
