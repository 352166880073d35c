package rootfs

import (
	"reflect"
	"strings"
	"testing"
)

// TestAt finds all that is in random images again by its number.
func TestAt(t *testing.T) {
	found, links := 0, 0
	for seed := range uint64(60) {
		g := newGenerator(t, seed)
		for range 1 + g.IntN(5) {
			g.layer(g.IntN(30))
		}
		var trees []*LayerTree
		for _, layer := range g.ours {
			trees = append(trees, treeOf(t, layer, &[]string{}))
		}
		f := NewFilesystem(trees, nil)
		var each func(dir Node, path string)
		each = func(dir Node, path string) {
			for _, c := range f.Children(dir) {
				at := strings.TrimPrefix(path+"/"+c.Name, "/")
				if c.Node.IsDir() {
					if got := f.stack.Path(c.Node); got != at {
						t.Errorf("seed %d: the path of %s is %q", seed, at, got)
					}
					each(c.Node, at)
					continue
				}
				n, ok := f.stack.At(f.Ino(c.Node))
				if !ok {
					t.Fatalf("seed %d: %s is not found again", seed, at)
				}
				found++
				if n.Type() != c.Node.Type() || f.Ino(n) != f.Ino(c.Node) || !reflect.DeepEqual(f.Attr(n), f.Attr(c.Node)) {
					t.Errorf("seed %d: %s is another when it is found again", seed, at)
				}
				wantLayer, want, wantOK := f.Contents(c.Node)
				if layer, e, ok := f.Contents(n); layer != wantLayer || ok != wantOK || !reflect.DeepEqual(e, want) {
					t.Errorf("seed %d: %s has other contents when it is found again", seed, at)
				}
				if f.Attr(n).Links == 1 {
					if got := f.stack.Path(n); got != at {
						t.Errorf("seed %d: the path of %s is %q", seed, at, got)
					}
					continue
				}
				links++
				if node, ok := walkTree(trees[n.layer], f.stack.Path(n)); !ok || trees[n.layer].inode(node).lead != n.id {
					t.Errorf("seed %d: %s is not at %q in its layer", seed, at, f.stack.Path(n))
				}
			}
		}
		each(f.Root(), "")
		for _, ino := range []uint64{uint64(len(trees)) << 32, uint64(trees[0].Len()), 1<<42 - 1, 0} {
			if n, ok := f.stack.At(ino); ok {
				t.Errorf("seed %d: the number %x is %v", seed, ino, n)
			}
		}
	}
	if found < 300 || links < 10 {
		t.Errorf("%d files and %d links are too few to say anything", found, links)
	}
}

// walkTree finds a path in one layer.
func walkTree(t *LayerTree, path string) (node uint32, ok bool) {
	for name := range strings.SplitSeq(path, "/") {
		if node, ok = t.lookup(node, name); !ok {
			return noNode, false
		}
	}
	return node, true
}

// TestAtNotYet: what no layer is known of has no numbers.
func TestAtNotYet(t *testing.T) {
	image := newLazyImage(t, []testEntry{file("a", "1")})
	s := image.stack()
	if _, ok := s.At(1); ok {
		t.Error("a file is found in a layer that nobody has read")
	}
	close(image.ready[0])
	n, ok, err := s.Lookup(t.Context(), s.Root(), "a")
	if err != nil || !ok {
		t.Fatal(err)
	}
	if again, ok := s.At(s.Ino(n)); !ok || again != n {
		t.Errorf("it is %v, want %v", again, n)
	}
}
