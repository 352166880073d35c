package rootfs

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// A directory is one of a Stack: what the layers have of it, from the top down, as
// far as somebody had to know.
type directory struct {
	parent *directory // nil of the root
	name   string

	mu    sync.Mutex
	parts []part // guarded by mu; the uppermost first
	below int    // guarded by mu; the layers from here on up are known, and 0 is all that count

	origin *origin // guarded by mu; where the attributes are from, if not from its uppermost layer, once somebody wanted to know
}

// path is the names that lead to the directory from the root.
func (d *directory) path() []string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	return names
}

// A part is a node of a layer's tree.
type part struct {
	layer int32
	node  uint32
}

// part returns the part number i of a directory, from the top, if it has so many.
func (s *Stack) part(ctx context.Context, d *directory, i int) (part, bool, error) {
	for {
		d.mu.Lock()
		below := d.below
		if i < len(d.parts) {
			defer d.mu.Unlock()
			return d.parts[i], true, nil
		}
		d.mu.Unlock()
		if below == 0 {
			return part{}, false, nil
		}
		if err := s.extend(ctx, d, below-1); err != nil {
			return part{}, false, err
		}
	}
}

// partOf returns the part that a layer has of a directory. last says that no lower
// layer has one that counts.
func (s *Stack) partOf(ctx context.Context, d *directory, layer int) (node uint32, ok, last bool, err error) {
	for {
		d.mu.Lock()
		below := d.below
		i, ok := slices.BinarySearchFunc(d.parts, layer, func(p part, layer int) int { return layer - int(p.layer) })
		rest := d.parts[i:]
		if ok {
			node, rest = rest[0].node, rest[1:]
		}
		last = below == 0 && len(rest) == 0
		d.mu.Unlock()
		if ok || below <= layer {
			return node, ok, last, nil
		}
		if err := s.extend(ctx, d, below-1); err != nil {
			return noNode, false, false, err
		}
	}
}

// extend takes down what a layer has of a directory, of which it is known what all
// above it have. No mutex is held while the layer is waited for.
func (s *Stack) extend(ctx context.Context, d *directory, layer int) error {
	node, has, below, err := s.look(ctx, d, layer)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.below != layer+1 {
		return nil // another goroutine was here
	}
	if has {
		d.parts = append(d.parts, part{int32(layer), node})
	}
	d.below = below
	return nil
}

// look returns what a layer has of a directory, if it has something that merges
// with what is above, and down to which layer it is known then what the others
// have: 0 if nothing below counts.
func (s *Stack) look(ctx context.Context, d *directory, layer int) (node uint32, has bool, below int, err error) {
	if d.parent != nil {
		parent, ok, last, err := s.partOf(ctx, d.parent, layer)
		if err != nil {
			return noNode, false, 0, err
		}
		below = layer
		if last {
			below = 0
		}
		if !ok {
			return noNode, false, below, nil
		}
		if node, ok = s.tree(int32(layer)).lookup(parent, d.name); !ok {
			return noNode, false, below, nil
		}
	} else {
		if err := s.need(ctx, layer); err != nil {
			return noNode, false, 0, err
		}
		below = layer
	}
	k := s.tree(int32(layer)).kinds[node]
	switch {
	case k.is('5'):
		if k&(covers|opaque) != 0 {
			below = 0
		}
		return node, true, below, nil
	case k.is('1') && k&covers == 0:
		links, err := s.crossing(ctx)
		if err != nil {
			return noNode, false, 0, err
		}
		if _, ok := links.to[part{int32(layer), node}]; !ok {
			return noNode, false, below, nil
		}
	}
	return noNode, false, 0, nil
}

// A candidate is a name that a layer has in a directory.
type candidate struct {
	name    string
	part    part
	decided bool // what the name is
}

// candidates returns what all layers have in a directory, sorted by name, of one
// name the uppermost first.
func (s *Stack) candidates(ctx context.Context, d *directory) ([]candidate, error) {
	var found []candidate
	layers := 0
	for ; ; layers++ {
		p, ok, err := s.part(ctx, d, layers)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		t := s.tree(p.layer)
		from, to := t.first[p.node], t.first[p.node+1]
		found = slices.Grow(found, int(to-from))
		for node := from; node < to; node++ {
			found = append(found, candidate{name: t.name(node), part: part{p.layer, node}})
		}
	}
	if layers > 1 {
		slices.SortStableFunc(found, func(a, b candidate) int { return strings.Compare(a.name, b.name) })
	}
	return found, nil
}
