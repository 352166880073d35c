package rootfs

import (
	"slices"
	"strings"
)

// tree makes the LayerTree of what the builder has.
func (b *treeBuilder) tree() *LayerTree {
	starts, children := b.children()
	n := len(children) + 1
	order := append(make([]uint32, 0, n), buildRoot)
	t := &LayerTree{
		table:   b.table,
		names:   b.names.String(),
		nameAt:  make([]uint32, 0, n),
		nameLen: make([]uint8, 0, n),
		entries: make([]uint32, 0, n),
		kinds:   make([]kind, 0, n),
		first:   make([]uint32, 0, n+1),
	}
	for i := 0; i < len(order); i++ {
		node := &b.nodes[order[i]]
		t.nameAt = append(t.nameAt, node.nameAt)
		t.nameLen = append(t.nameLen, node.nameLen)
		t.entries = append(t.entries, node.entry)
		t.kinds = append(t.kinds, node.kind)
		t.first = append(t.first, uint32(len(order)))
		order = append(order, children[starts[order[i]]:starts[order[i]+1]]...)
	}
	t.first = append(t.first, uint32(len(order)))
	b.shareInodes(t, order)
	for i, node := range order {
		if to, ok := b.crossing[node]; ok {
			t.crossing = append(t.crossing, crossing{uint32(i), to})
		}
	}
	return t
}

// children sorts the nodes by parent and name: those of a parent begin at its
// start and end at the next one's.
func (b *treeBuilder) children() (starts, children []uint32) {
	held := make([]bool, len(b.nodes)) // nodes that have their name still
	for _, slot := range b.slots {
		if slot != 0 {
			held[slot-1] = b.nodes[slot-1].kind != gone
		}
	}
	starts = make([]uint32, len(b.nodes)+1)
	for node := range b.nodes {
		if held[node] {
			starts[b.nodes[node].parent+1]++
		}
	}
	for i := range b.nodes {
		starts[i+1] += starts[i]
	}
	children = make([]uint32, starts[len(b.nodes)])
	// In the order of their making, which is most often that of their names.
	next := slices.Clone(starts)
	for node := range b.nodes {
		if held[node] {
			parent := b.nodes[node].parent
			children[next[parent]] = uint32(node)
			next[parent]++
		}
	}
	byName := func(x, y uint32) int { return strings.Compare(b.name(x), b.name(y)) }
	for i := range b.nodes {
		slices.SortFunc(children[starts[i]:starts[i+1]], byName)
	}
	return starts, children
}

// shareInodes gives the nodes that need it their inode.
func (b *treeBuilder) shareInodes(t *LayerTree, order []uint32) {
	holders, inodes := b.inodes()
	if len(inodes) == 0 {
		return
	}
	t.inodes = inodes
	for i, node := range order {
		if b.nodes[node].kind&isLinked == 0 {
			continue
		}
		at, ok := slices.BinarySearch(holders, b.nodes[node].inode)
		if !ok {
			continue
		}
		t.linked = append(t.linked, uint32(i))
		t.linkedTo = append(t.linkedTo, uint32(at))
		inode := &t.inodes[at]
		inode.links++
		inode.lead = min(inode.lead, uint32(i))
	}
}
