package rootfs

import (
	"context"
	"sync"
	"sync/atomic"
)

// A Stack lays the trees of an image's layers over each other, as overlayfs does:
// directories merge, and everything else hides what is below it. Names are looked
// up from the top down, so a tree is asked for when all above it leave something
// to be decided, and not before.
//
// It is safe for concurrent use.
type Stack struct {
	open   func(ctx context.Context, layer int) (*LayerTree, error)
	report func(layer int, e *EntryError)
	trees  []atomic.Pointer[LayerTree] // those that were asked for
	root   *directory

	mu    sync.Mutex
	links *links // guarded by mu; nil before it is needed
}

// NewStack returns the Stack of so many layers; layer 0 is the lowest. open is
// called for a tree that is needed, by several goroutines at once perhaps, and again
// after it has failed; it waits for what makes the tree, or for ctx. What it
// returns is kept. report, which may be nil, is told what of the layers cannot be
// shown once they are put together.
func NewStack(layers int, open func(ctx context.Context, layer int) (*LayerTree, error), report func(layer int, e *EntryError)) *Stack {
	return &Stack{
		open:   open,
		report: report,
		trees:  make([]atomic.Pointer[LayerTree], layers),
		root:   &directory{below: layers},
	}
}

// need waits for the tree of a layer.
func (s *Stack) need(ctx context.Context, layer int) error {
	if s.trees[layer].Load() != nil {
		return nil
	}
	t, err := s.open(ctx, layer)
	if err == nil {
		s.trees[layer].CompareAndSwap(nil, t)
	}
	return err
}

// tree is the tree of a layer that was needed before.
func (s *Stack) tree(layer int32) *LayerTree { return s.trees[layer].Load() }

// A Node is a file or directory of a Stack, which all methods that take it have to
// belong to. It is what its name stood for when it was looked up, which never
// changes.
type Node struct {
	layer int32
	id    uint32
	kind  kind
	dir   *directory // of a directory
}

// Type is the node's type, as a typeflag of archive/tar; no node is a TypeLink.
func (n Node) Type() byte { return '0' + byte(n.kind&kindBits) }

// IsDir says whether the node is a directory.
func (n Node) IsDir() bool { return n.dir != nil }

// Root is the root directory. It is there whatever the layers say, and asking for
// it needs none of them.
func (s *Stack) Root() Node { return Node{layer: -1, kind: kindOf('5'), dir: s.root} }

// Lookup finds a name in a directory. It waits for the layers that decide. An
// error is one of theirs: whether the name is there is not known then.
func (s *Stack) Lookup(ctx context.Context, dir Node, name string) (Node, bool, error) {
	if dir.dir == nil || name == "" {
		return Node{}, false, nil
	}
	for i := 0; ; i++ {
		p, ok, err := s.part(ctx, dir.dir, i)
		if !ok || err != nil {
			return Node{}, false, err
		}
		id, ok := s.tree(p.layer).lookup(p.node, name)
		if !ok {
			continue
		}
		n, verdict, err := s.judge(ctx, dir.dir, part{p.layer, id})
		if verdict != undecided || err != nil {
			return n, verdict == shown, err
		}
	}
}

// verdict is what a layer decides about a name that it has.
type verdict int

const (
	undecided verdict = iota // as if the layer did not have it
	hidden                   // the name is not there
	shown
)

// judge says what a name of a directory is that a layer has and none above it.
func (s *Stack) judge(ctx context.Context, dir *directory, p part) (Node, verdict, error) {
	t := s.tree(p.layer)
	k := t.kinds[p.node]
	switch {
	case k&kindBits == whiteout:
		return Node{}, hidden, nil
	case k.is('5'):
		below := p.layer
		if k&(covers|opaque) != 0 {
			below = 0
		}
		d := &directory{parent: dir, name: t.name(p.node), parts: []part{p}, below: int(below)}
		return Node{p.layer, p.node, k, d}, shown, nil
	case k.is('1'):
		links, err := s.crossing(ctx)
		if err != nil {
			return Node{}, undecided, err
		}
		if to, ok := links.to[p]; ok {
			return Node{layer: to.layer, id: to.node, kind: s.tree(to.layer).kinds[to.node]}, shown, nil
		}
		if k&covers != 0 {
			return Node{}, hidden, nil
		}
		return Node{}, undecided, nil
	}
	return Node{layer: p.layer, id: p.node, kind: k}, shown, nil
}

// A Child is a name in a directory.
type Child struct {
	Name string
	Node Node
}

// Children lists a directory, sorted by the bytes of the names. It waits for the
// layers that have something to say about it.
func (s *Stack) Children(ctx context.Context, dir Node) ([]Child, error) {
	if dir.dir == nil {
		return nil, nil
	}
	candidates, err := s.candidates(ctx, dir.dir)
	if err != nil {
		return nil, err
	}
	children := make([]Child, 0, len(candidates))
	for i, c := range candidates {
		if i > 0 && c.name == candidates[i-1].name && candidates[i-1].decided {
			candidates[i].decided = true
			continue
		}
		n, verdict, err := s.judge(ctx, dir.dir, c.part)
		if err != nil {
			return nil, err
		}
		if verdict == shown {
			children = append(children, Child{c.name, n})
		}
		candidates[i].decided = verdict != undecided
	}
	return children, nil
}
