package rootfs

import (
	"archive/tar"
	"cmp"
	"slices"
	"strings"
)

const (
	// maxForward is how often hard links to what comes later are looked at, from the
	// last to the first and back: each time those of a chain that goes the same
	// way find their target.
	maxForward = 8
	// maxCrossing is how many hard links of a layer may have their target below it.
	maxCrossing = 1 << 16
	// maxUpdates is how many entries may change the attributes that a file has.
	maxUpdates = 64
)

// bind adds an entry to an inode.
func (b *treeBuilder) bind(node, entry uint32) {
	b.bindings = append(b.bindings, binding{node, entry})
	b.nodes[node].kind |= isLinked
}

// link applies a hard link, which binds what its target is now: a name that is
// replaced later takes nothing with it. Where the target is not there yet, the
// link waits for the end of the layer.
func (b *treeBuilder) link(c *cursor, parent uint32, name string) (reason string, err error) {
	target, reason, err := b.target(string(c.target))
	if reason != "" || err != nil {
		return reason, err
	}
	old := b.find(parent, name)
	switch {
	case old == target && old != noNode:
		return "", nil // nobody could have made a link to itself
	case target != noNode && old != noNode && b.nodes[old].inode == b.nodes[target].inode:
		b.bind(b.nodes[target].inode, uint32(c.i)) // two names of one file already
		return "", nil
	}
	if err := b.put(parent, name, kindOf(tar.TypeLink), uint32(c.i)); err != nil {
		return "", err
	}
	node := b.find(parent, name)
	if target == noNode {
		b.forward = append(b.forward, node)
	} else {
		b.join(node, b.nodes[target].inode)
	}
	return "", nil
}

// join makes a node another name of an inode.
func (b *treeBuilder) join(node, inode uint32) {
	n := &b.nodes[node]
	b.bind(inode, n.entry)
	n.inode = inode
	n.kind = b.nodes[inode].kind&kindBits | n.kind&covers | isLinked
}

// target returns the node that a hard link's target is now, or noNode. The last
// component is not followed if it is a symbolic link.
func (b *treeBuilder) target(name string) (node uint32, reason string, err error) {
	dir, base, ok := splitTarget(name)
	if !ok {
		return noNode, linkToDirectory, nil
	}
	b.enter(dir)
	parent, reason, err := b.walk(false)
	if reason != "" {
		reason = "a hard link whose target is not reached: " + reason
	}
	if parent == noNode || err != nil {
		return noNode, reason, err
	}
	if node = b.find(parent, base); node == noNode {
		return noNode, "", nil
	}
	switch kind := b.nodes[node].kind; {
	case kind.is(tar.TypeDir):
		return noNode, linkToDirectory, nil
	case kind.is(tar.TypeLink) || kind&kindBits == whiteout:
		return noNode, "", nil
	}
	return node, "", nil
}

const linkToDirectory = "a hard link to a directory"

// splitTarget splits the target of a hard link into the components of its
// directory and the last one. It is not ok if the last one is no name.
func splitTarget(name string) (dir []string, base string, ok bool) {
	slash := strings.LastIndexByte(name, '/')
	base = name[slash+1:]
	if base == "" || base == "." || base == ".." {
		return nil, "", false
	}
	for part := range strings.SplitSeq(name[:slash+1], "/") {
		if part != "" && part != "." {
			dir = append(dir, part)
		}
	}
	return dir, base, true
}

// bindForward binds the hard links that waited for the end of the layer. What
// still has no target is left as TypeLink: a layer below may have it.
func (b *treeBuilder) bindForward() error {
	for range maxForward {
		slices.Reverse(b.forward)
		waiting := b.forward[:0]
		for _, node := range b.forward {
			n := &b.nodes[node]
			if b.find(n.parent, b.name(node)) != node {
				continue // another entry has the name by now
			}
			target, reason, err := b.target(b.table.Entry(int(n.entry)).Linkname)
			switch {
			case err != nil:
				return err
			case reason != "":
				b.drop(node, reason)
			case target == noNode:
				waiting = append(waiting, node)
			default:
				b.join(node, b.nodes[target].inode)
			}
		}
		bound := len(b.forward) - len(waiting)
		if b.forward = waiting; bound == 0 {
			break
		}
	}
	b.crossing = make(map[uint32][]string)
	for _, node := range b.forward {
		if len(b.crossing) == maxCrossing {
			b.drop(node, "too many hard links to the layers below")
			continue
		}
		to, err := b.below(b.table.Entry(int(b.nodes[node].entry)).Linkname)
		if err != nil {
			return err
		}
		b.crossing[node] = to
	}
	return nil
}

// below is where the layers below would have the target of a hard link. Symbolic
// links of this layer have been followed; theirs are not.
func (b *treeBuilder) below(name string) (to []string, err error) {
	dir, base, _ := splitTarget(name)
	b.enter(dir)
	if _, _, err := b.walk(false); err != nil {
		return nil, err
	}
	for _, node := range b.path[1:] {
		to = append(to, b.name(node))
	}
	for _, part := range slices.Backward(b.queue) {
		if part != ".." {
			to = append(to, part)
		} else if len(to) > 0 {
			to = to[:len(to)-1]
		}
	}
	return append(to, base), nil
}

// drop makes a name what it would be without its entry.
func (b *treeBuilder) drop(node uint32, reason string) {
	n := &b.nodes[node]
	if n.kind&covers != 0 {
		n.kind = whiteout | covers
	} else {
		n.kind = gone
	}
	if b.report != nil {
		b.report(&EntryError{b.table.Entry(int(n.entry)).Name, reason})
	}
}

// inodes makes the inodes that more than one entry has to do with. With each comes
// the node of the builder that has its contents; they are sorted by that.
func (b *treeBuilder) inodes() (nodes []uint32, inodes []inode) {
	// A link to what comes later is of an earlier entry than its inode: it sets
	// nothing, since the last entry counts.
	slices.SortFunc(b.bindings, func(x, y binding) int {
		return cmp.Or(cmp.Compare(x.inode, y.inode), cmp.Compare(x.entry, y.entry))
	})
	var has []Xattr // of the inode so far
	for _, binding := range b.bindings {
		own := b.nodes[binding.inode].entry
		if n := len(nodes); n == 0 || nodes[n-1] != binding.inode {
			nodes = append(nodes, binding.inode)
			inodes = append(inodes, inode{entry: own, latest: own, lead: noNode})
			has = b.table.Entry(int(own)).Xattrs
		}
		i := &inodes[len(inodes)-1]
		if binding.entry < own {
			continue
		}
		if i.latest = binding.entry; len(i.updates) == maxUpdates {
			continue
		}
		if more := b.table.Entry(int(binding.entry)).Xattrs; !hasAll(has, more) {
			i.updates = append(i.updates, binding.entry)
			has = normalize(slices.Concat(has, more))
		}
	}
	return nodes, inodes
}

// hasAll says whether attributes, which are sorted, have others among them.
func hasAll(has, others []Xattr) bool {
	for _, x := range others {
		i, ok := slices.BinarySearchFunc(has, x.Name, func(x Xattr, name string) int { return strings.Compare(x.Name, name) })
		if !ok || has[i].Value != x.Value {
			return false
		}
	}
	return true
}
