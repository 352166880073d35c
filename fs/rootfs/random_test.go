package rootfs

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/layers"
)

// TestRandomStacks compares random images with what containerd makes of them, on
// overlayfs, with their layers stored in each way and with each index that those have.
// OCIDISTFS_ROOTFS_SEEDS says how many.
func TestRandomStacks(t *testing.T) {
	seeds := 40
	if n, err := strconv.Atoi(os.Getenv("OCIDISTFS_ROOTFS_SEEDS")); err == nil {
		seeds = n
	}
	entries, files := 0, 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := newGenerator(t, seed)
			for range 1 + g.IntN(6) {
				g.layer(g.IntN(30))
			}
			theirs, err := unpacked(t, "overlay", g.theirs)
			if err != nil {
				t.Fatalf("%v\n%s", err, g)
			}
			want, wantSeconds := lines(theirs, true), lines(bySecond(theirs), true)
			for _, e := range layers.All() {
				for _, toc := range []bool{false, true} {
					if toc && !e.TOC {
						continue
					}
					f, plain := encodedMerge(t, g.ours, e, toc)
					seen, want := see(t, f, plain), want
					if toc && e.Seconds {
						want = wantSeconds
						seen = bySecond(seen)
					}
					if d := difference(lines(seen, true), want); d != "" {
						t.Errorf("%s, by its table of contents: %v: containerd differs:\n%s%s", e.Name, toc, d, g)
					}
				}
			}
			files += len(theirs)
			for _, l := range g.said {
				entries += len(l)
			}
		})
	}
	if t.Logf("%d entries came to %d files and directories", entries, files); files < 5*seeds {
		t.Error("that is too few to say anything")
	}
}

// A generator makes layers that are full of collisions: few names, links of all
// kinds between them, whiteouts of what is there and of what is not.
//
// What containerd fails at it leaves out. What containerd forgets, a whiteout whose
// name the same layer has too, is told to it in other words: a directory is
// opaque then.
type generator struct {
	*rand.Rand
	t            *testing.T
	xattrs       bool // of directories too
	ours, theirs [][]byte
	said         [][]string
}

func newGenerator(t *testing.T, seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, xattrs: seed%2 == 0}
}

func (g *generator) String() string {
	var b strings.Builder
	for i, entries := range g.said {
		fmt.Fprintf(&b, "layer %d\n  %s\n", i, strings.Join(entries, "\n  "))
	}
	return b.String()
}

func (g *generator) name() string {
	parts := make([]string, 1+g.IntN(3))
	for i := range parts {
		parts[i] = string(rune('a' + g.IntN(4)))
	}
	name := strings.Join(parts, "/")
	switch g.IntN(20) {
	case 0:
		return "/" + name
	case 1:
		return "./" + name
	case 2:
		return "../x/../" + name
	}
	return name
}

// content is now and then of several chunks, and of zeros between others.
func (g *generator) content() string {
	said := fmt.Sprint(g.IntN(1000))
	switch g.IntN(16) {
	case 0:
		return strings.Repeat(said, 40_000)
	case 1:
		return said + strings.Repeat("\x00", 60_000) + said
	}
	return said
}

func (g *generator) entry() testEntry {
	var e testEntry
	name := g.name()
	switch n := g.IntN(20); {
	case n < 7:
		e = file(name, g.content())
	case n < 11:
		e = dir(name)
	case n < 13:
		targets := []string{"a", "b/c", "..", "../a", "/b", "/c/d", "x/../d", "nowhere", "../../../c", "."}
		return symlink(name, targets[g.IntN(len(targets))])
	case n < 15:
		e = hardlink(name, g.name())
	case n < 16:
		e = device(name, g.Int64N(2), g.Int64N(2))
	case n < 17:
		e = fifo(name)
	default:
		slash := strings.LastIndexByte(name, '/') + 1
		if e = file(name[:slash]+whiteoutPrefix+name[slash:], ""); g.IntN(3) == 0 {
			e = file(name[:slash]+opaqueMarker, "")
		}
		return e
	}
	e.Mode = []int64{0o644, 0o755, 0o4711, 0o1777, 0o2750}[g.IntN(5)]
	if e.Typeflag == tar.TypeDir {
		// Where containerd makes a directory without an entry, the kernel gives it the
		// group of a set-gid parent, if that was one already.
		e.Mode &^= 0o2000
	}
	e.Uid, e.Gid = g.IntN(3), g.IntN(3)*70000
	e.Format = tar.FormatPAX
	e.ModTime = time.Unix(g.Int64N(1e9), g.Int64N(3)*500)
	if g.IntN(4) == 0 && (e.Typeflag != tar.TypeDir || g.xattrs) {
		e = e.xattr(fmt.Sprint("user.", g.IntN(3)), fmt.Sprint(g.IntN(9)))
	}
	return e
}

// layer adds a layer of up to n entries.
func (g *generator) layer(n int) {
	below := mergeOf(g.t, g.ours, nil)
	var ours, theirs []testEntry
	var said []string
	tree := treeOf(g.t, layerOf(g.t, nil), nil)
	for range n {
		e := g.entry()
		var hidden []string
		next := treeOf(g.t, layerOf(g.t, append(ours[:len(ours):len(ours)], e)), &hidden)
		more, ok := g.told(e, tree, next, below)
		if !ok || len(hidden) > 0 {
			continue
		}
		ours, theirs, tree = append(ours, e), append(theirs, more...), next
		said = append(said, fmt.Sprintf("%c %q -> %q %o %d:%d %v", e.Typeflag, e.Name, e.Linkname, e.Mode, e.Uid, e.Gid, e.PAXRecords))
	}
	g.ours, g.theirs = append(g.ours, layerOf(g.t, ours)), append(g.theirs, layerOf(g.t, theirs))
	g.said = append(g.said, said)
}

// told is what containerd is told of an entry, which makes one tree another. It is
// not ok if containerd would fail at it, or is known to differ.
func (g *generator) told(e testEntry, before, after *LayerTree, below *Filesystem) ([]testEntry, bool) {
	slash := strings.LastIndexByte(e.Name, '/') + 1
	hides, isWhiteout := strings.CutPrefix(e.Name[slash:], whiteoutPrefix)
	opaqueName := e.Name + "/" + opaqueMarker
	if isWhiteout {
		opaqueName = e.Name[:slash] + hides + "/" + opaqueMarker
	}
	if len(after.crossing) > 0 || after.kinds[0]&opaque != 0 || !directoriesRemain(after.table) {
		return nil, false
	}
	paths := pathsOf(after)
	was := map[string]uint32{}
	for node, path := range pathsOf(before) {
		was[path] = uint32(node)
	}
	told := []testEntry{e}
	for node := 1; node < after.Len(); node++ {
		k := after.kinds[node]
		old, known := was[paths[node]]
		implied := k.is(tar.TypeDir) && after.entries[node] == noEntry
		switch {
		case implied && (k&covers != 0 || !known && obstructed(below, paths[node])):
			return nil, false
		case e.Typeflag == tar.TypeLink && known && (before.kinds[old].is(tar.TypeDir) || before.kinds[old].is(tar.TypeSymlink)) && after.entries[node] != before.entries[old]:
			return nil, false // it would remove its target, perhaps
		case known && before.kinds[old].is(tar.TypeDir) && before.entries[old] == noEntry && !implied && k.is(tar.TypeDir) && g.xattrs:
			return nil, false // it would keep the attributes that it has from below
		case known && !isWhiteout && k.is(tar.TypeDir) && k&covers != 0 && (before.kinds[old]&covers == 0 || !before.kinds[old].is(tar.TypeDir)):
			told = append(told, file(opaqueName, ""))
		case known && isWhiteout && hides != opaqueMarker[len(whiteoutPrefix):] && k != before.kinds[old]:
			if told = nil; k.is(tar.TypeDir) {
				told = append(told, file(opaqueName, ""))
			}
		}
	}
	if isWhiteout && before.Len() == after.Len() && len(told) == 1 && told[0].Name == e.Name && hides != opaqueMarker[len(whiteoutPrefix):] {
		return nil, false // a second whiteout of one name
	}
	if e.Typeflag == tar.TypeLink && before.Len() == after.Len() && same(before, after) {
		return nil, false // to itself
	}
	return told, true
}

// directoriesRemain says whether each entry of a directory still leads to one at
// the end, when containerd sets its time.
func directoriesRemain(t *Table) bool {
	b := newTreeBuilder(t, nil)
	for c := t.cursor(0); c.next(); {
		if err := b.add(c); err != nil {
			return false
		}
	}
	for _, e := range t.All() {
		if e.Type != tar.TypeDir {
			continue
		}
		parts, _ := cleaned(e.Name, nil)
		b.enter(parts)
		if node, reason, err := b.walk(false); node == noNode || reason != "" || err != nil {
			return false
		}
	}
	return true
}

// same says whether two trees have the same nodes by the same entries.
func same(a, b *LayerTree) bool {
	for i := range a.Len() {
		if a.entries[i] != b.entries[i] || a.kinds[i] != b.kinds[i] {
			return false
		}
	}
	return len(a.inodes) == len(b.inodes)
}

// pathsOf are the names of all nodes, from the root.
func pathsOf(t *LayerTree) []string {
	paths := make([]string, t.Len())
	for node := range uint32(t.Len()) {
		for child := t.first[node]; child < t.first[node+1]; child++ {
			paths[child] = strings.TrimPrefix(paths[node]+"/"+t.name(child), "/")
		}
	}
	return paths
}

// obstructed says whether a name leads through something that is no directory, or
// to a symbolic link: containerd fails to look up whose attributes a directory
// without an entry has, or follows the link.
func obstructed(f *Filesystem, name string) bool {
	n := f.Root()
	for part := range strings.SplitSeq(name, "/") {
		if !n.IsDir() {
			return true
		}
		next, ok := f.Lookup(n, part)
		if !ok {
			return false
		}
		n = next
	}
	return n.Type() == tar.TypeSymlink
}
