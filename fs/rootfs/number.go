package rootfs

import (
	"archive/tar"
	"slices"
	"sort"
	"strings"
)

// At returns the node that has an inode number, as [Stack.Ino] gave it for one that was found in
// this Stack and is no directory. It is not ok for others.
func (s *Stack) At(ino uint64) (n Node, ok bool) {
	layer, id := ino>>32, uint32(ino)
	if layer >= uint64(len(s.trees)) {
		return Node{}, false
	}
	t := s.tree(int32(layer))
	if t == nil || int(id) >= t.Len() {
		return Node{}, false
	}
	n = Node{layer: int32(layer), id: id, kind: t.kinds[id]}
	switch n.Type() {
	case tar.TypeReg, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return n, true
	}
	return Node{}, false
}

// Path is the name of a node that is no directory from the root of its layer on, with slashes
// between its parts: the name that it has there, even where layers above hide that.
func (s *Stack) Path(n Node) string {
	if n.dir != nil {
		return strings.Join(n.dir.path(), "/")
	}
	return s.tree(n.layer).path(n.id)
}

// path is the name of a node from the root on.
func (t *LayerTree) path(node uint32) string {
	var names []string
	for node != 0 {
		names = append(names, t.name(node))
		// The last whose children begin at the node or before it: those between it and the
		// next with children have none.
		node = uint32(sort.Search(t.Len(), func(dir int) bool { return t.first[dir+1] > node }))
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}
