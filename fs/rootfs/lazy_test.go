package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
)

// A lazyImage is an image whose trees come when the test says so.
type lazyImage struct {
	trees []*LayerTree
	ready []chan struct{}

	mu    sync.Mutex
	asked []int // guarded by mu; layers in the order in which they were needed first
}

func newLazyImage(t testing.TB, layers ...[]testEntry) *lazyImage {
	image := &lazyImage{}
	for _, entries := range layers {
		image.trees = append(image.trees, treeOf(t, layerOf(t, entries), nil))
		image.ready = append(image.ready, make(chan struct{}))
	}
	return image
}

func (l *lazyImage) stack() *Stack {
	return NewStack(len(l.trees), func(ctx context.Context, layer int) (*LayerTree, error) {
		l.mu.Lock()
		if !slices.Contains(l.asked, layer) {
			l.asked = append(l.asked, layer)
		}
		l.mu.Unlock()
		select {
		case <-l.ready[layer]: // even if ctx has ended
			return l.trees[layer], nil
		default:
		}
		select {
		case <-l.ready[layer]:
			return l.trees[layer], nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}, nil)
}

var errNotYet = errors.New("not yet")

// find looks a path up without waiting for anything.
func find(s *Stack, path ...string) (Node, bool, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNotYet)
	n := s.Root()
	for _, name := range path {
		next, ok, err := s.Lookup(ctx, n, name)
		if !ok || err != nil {
			return Node{}, ok, err
		}
		n = next
	}
	return n, true, nil
}

// TestStackDecidesEarly: a lookup is answered as soon as the layers from the top
// down decide it.
func TestStackDecidesEarly(t *testing.T) {
	layers := [][]testEntry{
		{file("bottom", "0"), dir("d"), file("d/bottom", "0"), file("gone", "0"), dir("o"), file("o/bottom", "0"), dir("f"), file("f/x", "0")},
		{file("middle", "1"), dir("d").mode(0o700), file("d/middle", "1"), file("o/middle", "1"), file("f", "1"), file("i/middle", "")},
		{file("top", "2"), file("d/top", "2"), file(".wh.gone", ""), dir("o"), file("o/.wh..wh..opq", ""), file("o/top", "2"), file(".wh.middle", ""), dir("i")},
	}
	for _, c := range []struct {
		path  []string
		found bool
		needs int // how many layers, from the top
	}{
		{[]string{"top"}, true, 1},
		{[]string{"gone"}, false, 1},
		{[]string{"middle"}, false, 1},
		{[]string{"d", "top"}, true, 1},
		{[]string{"d"}, true, 1},
		{[]string{"d", "middle"}, true, 2},
		{[]string{"d", "bottom"}, true, 3},
		{[]string{"d", "nothing"}, false, 3},
		{[]string{"bottom"}, true, 3},
		{[]string{"nothing"}, false, 3},
		{[]string{"o", "top"}, true, 1},
		{[]string{"o", "middle"}, false, 1},
		{[]string{"o", "bottom"}, false, 1},
		{[]string{"f"}, true, 2},
		{[]string{"f", "x"}, false, 2},
		{[]string{"top", "x"}, false, 1},
		{[]string{"i", "middle"}, true, 2},
	} {
		t.Run(fmt.Sprint(c.path), func(t *testing.T) {
			image := newLazyImage(t, layers...)
			s := image.stack()
			for n := 0; n < c.needs; n++ {
				if _, _, err := find(s, c.path...); !errors.Is(err, errNotYet) {
					t.Fatalf("decided by %d layers: %v", n, err)
				}
				close(image.ready[len(layers)-1-n])
			}
			if _, ok, err := find(s, c.path...); ok != c.found || err != nil {
				t.Errorf("found: %v, %v", ok, err)
			}
			if len(image.asked) != c.needs {
				t.Errorf("layers %d were asked for", image.asked)
			}
		})
	}
}

// TestStackAttrWaits: the attributes of a directory wait for the layer that has them,
// and the listing of one for those that have something in it.
func TestStackAttrWaits(t *testing.T) {
	image := newLazyImage(t,
		[]testEntry{dir("d").mode(0o711), file("d/bottom", "0"), file("o/x", "")},
		[]testEntry{file("d/middle", "1")},
		[]testEntry{file("d/top", "2"), dir("o"), file("o/.wh..wh..opq", ""), file("o/y", "")},
	)
	s := image.stack()
	if n := s.Root(); !n.IsDir() || s.Ino(n) != 0 {
		t.Errorf("the root is %+v", n)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNotYet)
	if a, err := s.Attr(ctx, s.Root()); err != nil || a.Mode != 0o755 || a.Type != tar.TypeDir {
		t.Errorf("the root: %+v, %v", a, err)
	}
	close(image.ready[2])
	d, _, err := find(s, "d")
	if err != nil {
		t.Fatal(err)
	}
	o, _, err := find(s, "o")
	if err != nil {
		t.Fatal(err)
	}
	if children, err := s.Children(ctx, o); err != nil || len(children) != 1 || children[0].Name != "y" {
		t.Errorf("in the opaque directory: %v, %v", children, err)
	}
	if _, err := s.Attr(ctx, d); !errors.Is(err, errNotYet) {
		t.Errorf("attributes without their layer: %v", err)
	}
	if _, err := s.Children(ctx, d); !errors.Is(err, errNotYet) {
		t.Errorf("a list without all layers: %v", err)
	}
	close(image.ready[1])
	if _, err := s.Attr(ctx, d); !errors.Is(err, errNotYet) {
		t.Errorf("attributes without their layer: %v", err)
	}
	ino := s.Ino(d)
	close(image.ready[0])
	if a, err := s.Attr(t.Context(), d); err != nil || a.Mode != 0o711 {
		t.Errorf("%+v, %v", a, err)
	}
	children, err := s.Children(ctx, d)
	if err != nil || len(children) != 3 {
		t.Errorf("%v, %v", children, err)
	}
	if again, _, _ := find(s, "d"); s.Ino(again) != ino {
		t.Errorf("the directory is %d and %d", ino, s.Ino(again))
	}
	f, err := s.Filesystem(ctx)
	if err != nil || len(f.Children(f.Root())) != 2 {
		t.Errorf("the whole: %v", err)
	}
}

// TestStackLinkWaits: a hard link to a layer below needs all of them, and what it
// leads to counts it.
func TestStackLinkWaits(t *testing.T) {
	image := newLazyImage(t, []testEntry{file("a", "0")}, []testEntry{file("x", "1")}, []testEntry{hardlink("b", "a"), file("c", "2")})
	s := image.stack()
	close(image.ready[2])
	if _, ok, err := find(s, "c"); !ok || err != nil {
		t.Error(err)
	}
	close(image.ready[1])
	if _, _, err := find(s, "b"); !errors.Is(err, errNotYet) {
		t.Errorf("the link without its target: %v", err)
	}
	close(image.ready[0])
	b, ok, err := find(s, "b")
	a, _, _ := find(s, "a")
	if !ok || err != nil || s.Ino(a) != s.Ino(b) {
		t.Errorf("a is %d, b is %d: %v, %v", s.Ino(a), s.Ino(b), ok, err)
	}
	if attr, err := s.Attr(t.Context(), a); err != nil || attr.Links != 2 {
		t.Errorf("%+v, %v", attr, err)
	}
}

// TestStackErrors: a layer that fails is an error and never an absence, and it is
// asked for again.
func TestStackErrors(t *testing.T) {
	tree := treeOf(t, layerOf(t, []testEntry{file("a", "")}), nil)
	broken := errors.New("broken")
	calls := 0
	s := NewStack(1, func(context.Context, int) (*LayerTree, error) {
		if calls++; calls < 4 {
			return nil, broken
		}
		return tree, nil
	}, nil)
	if _, _, err := s.Lookup(t.Context(), s.Root(), "a"); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := s.Children(t.Context(), s.Root()); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := s.Filesystem(t.Context()); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, ok, err := s.Lookup(t.Context(), s.Root(), "a"); !ok || err != nil {
		t.Error(err)
	}
	if _, ok, err := s.Lookup(t.Context(), s.Root(), "b"); ok || err != nil || calls != 4 {
		t.Errorf("%v, after %d calls", err, calls)
	}
}

// TestStackIsTheFilesystem: in whichever order the layers come and whoever asks
// meanwhile, the stack is what it would be if all had been there.
func TestStackIsTheFilesystem(t *testing.T) {
	for seed := range uint64(30) {
		g := newGenerator(t, seed)
		for range 1 + g.IntN(6) {
			g.layer(g.IntN(30))
		}
		whole := mergeOf(t, g.ours, nil)
		want := summary(t, whole, g.ours)
		image := &lazyImage{}
		for _, layer := range g.ours {
			image.trees = append(image.trees, treeOf(t, layer, nil))
			image.ready = append(image.ready, make(chan struct{}))
		}
		s := image.stack()
		var readers sync.WaitGroup
		for i := range 4 {
			readers.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range 100 {
					agree(t, s, whole, r)
				}
			})
		}
		for _, layer := range g.Perm(len(image.ready)) {
			close(image.ready[layer])
		}
		readers.Wait()
		f, err := s.Filesystem(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(t, f, g.ours); got != want {
			t.Errorf("seed %d: there is\n%s\nnot\n%s", seed, got, want)
		}
	}
}

// agree walks down at random and compares.
func agree(t *testing.T, s *Stack, whole *Filesystem, r *rand.Rand) {
	n, w := s.Root(), whole.Root()
	for range 4 {
		name := string(rune('a' + r.IntN(4)))
		next, ok, err := s.Lookup(t.Context(), n, name)
		there, found := whole.Lookup(w, name)
		if err != nil || ok != found {
			t.Errorf("%q is found: %v, %v, not %v", name, ok, err, found)
			return
		}
		if !ok {
			return
		}
		n, w = next, there
		if a, err := s.Attr(t.Context(), n); err != nil || !reflect.DeepEqual(a, whole.Attr(w)) {
			t.Errorf("%q is %+v, %v, not %+v", name, a, err, whole.Attr(w))
		}
		if s.Ino(n) != whole.Ino(w) {
			t.Errorf("%q has number %d, not %d", name, s.Ino(n), whole.Ino(w))
		}
		children, err := s.Children(t.Context(), n)
		names := func(c Child) string { return c.Name }
		if all := whole.Children(w); err != nil || !slices.Equal(collect(children, names), collect(all, names)) {
			t.Errorf("in %q is %v, %v, not %v", name, children, err, all)
		}
	}
}

func collect[T, U any](all []T, of func(T) U) []U {
	var found []U
	for _, x := range all {
		found = append(found, of(x))
	}
	return found
}
