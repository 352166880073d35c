package rootfs

import "context"

// A Filesystem is a Stack all layers of which are there: nothing has to be waited
// for, and nothing fails. It is safe for concurrent use.
type Filesystem struct{ stack *Stack }

// NewFilesystem lays trees over each other; the first is the lowest. report may be
// nil, as with [NewStack].
func NewFilesystem(trees []*LayerTree, report func(layer int, e *EntryError)) *Filesystem {
	s := NewStack(len(trees), func(_ context.Context, layer int) (*LayerTree, error) { return trees[layer], nil }, report)
	for i, t := range trees {
		s.trees[i].Store(t)
	}
	return &Filesystem{s}
}

// Filesystem waits for all layers.
func (s *Stack) Filesystem(ctx context.Context) (*Filesystem, error) {
	for layer := range s.trees {
		if err := s.need(ctx, layer); err != nil {
			return nil, err
		}
	}
	return &Filesystem{s}, nil
}

// Root is [Stack.Root].
func (f *Filesystem) Root() Node { return f.stack.Root() }

// Lookup is [Stack.Lookup].
func (f *Filesystem) Lookup(dir Node, name string) (Node, bool) {
	n, ok, _ := f.stack.Lookup(context.Background(), dir, name)
	return n, ok
}

// Children is [Stack.Children].
func (f *Filesystem) Children(dir Node) []Child {
	children, _ := f.stack.Children(context.Background(), dir)
	return children
}

// Attr is [Stack.Attr].
func (f *Filesystem) Attr(n Node) Attr {
	a, _ := f.stack.Attr(context.Background(), n)
	return a
}

// Ino is [Stack.Ino].
func (f *Filesystem) Ino(n Node) uint64 { return f.stack.Ino(n) }

// Source is [Stack.Source].
func (f *Filesystem) Source(n Node) (layer, entry int) { return f.stack.Source(n) }

// Contents is [Stack.Contents].
func (f *Filesystem) Contents(n Node) (layer int, e Entry, ok bool) { return f.stack.Contents(n) }
