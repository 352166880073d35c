package rootfs

import (
	"archive/tar"
	"context"
	"math"
	"time"
)

// Attr is what stat(2), readlink(2) and listxattr(2) say of a node.
type Attr struct {
	Type     byte   // as of [Node.Type]
	Mode     uint32 // permission bits, set-uid, set-gid and sticky
	UID, GID uint32
	// Size is the length in bytes of a regular file and of a symbolic link's
	// target; of anything else it is 0.
	Size    int64
	ModTime time.Time // from 1970 on
	// Links is how many names a file has in its layer, even if some are hidden by
	// layers above: that is what overlayfs says too. Of a directory it is 1, which
	// says that its directories were not counted.
	Links              uint32
	Devmajor, Devminor uint32 // of a device
	Target             string // of a symbolic link
	Xattrs             []Xattr
}

// impliedMode is that of a directory which no layer has an entry for. It belongs
// to root, and its time is 0.
const impliedMode = 0o755

// Attr returns the attributes of a node. Of a directory that its layer has no entry
// for it may wait for those below, whose attributes it has.
func (s *Stack) Attr(ctx context.Context, n Node) (Attr, error) {
	o, err := s.origin(ctx, n)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Type: n.Type(), Mode: impliedMode, ModTime: time.Unix(0, 0), Links: 1}
	if o.tree == nil {
		return a, nil
	}
	contents := o.tree.table.Entry(int(o.entry))
	latest := &contents
	if o.latest != o.entry {
		e := o.tree.table.Entry(int(o.latest))
		latest = &e
	}
	a.Mode, a.UID, a.GID = uint32(latest.Mode), owner(latest.UID), owner(latest.GID)
	a.ModTime = bounded(latest.ModTime)
	a.Xattrs = o.tree.xattrs(contents.Xattrs, o.inode, n.kind)
	switch a.Type {
	case tar.TypeDir:
		return a, nil
	case tar.TypeReg:
		a.Size = contents.Size
	case tar.TypeSymlink:
		// Linux knows no other mode.
		a.Mode, a.Target, a.Size = 0o777, contents.Linkname, int64(len(contents.Linkname))
	case tar.TypeChar, tar.TypeBlock:
		a.Devmajor, a.Devminor = uint32(contents.Devmajor), uint32(contents.Devminor)
	}
	more, err := s.linksAbove(ctx, part{n.layer, o.lead})
	a.Links = o.links + more
	return a, err
}

// An origin is where the attributes of a node are from. There is no tree for a
// directory that no layer has an entry for.
type origin struct {
	tree *LayerTree
	inode
}

// origin returns where the attributes of a node are from.
func (s *Stack) origin(ctx context.Context, n Node) (origin, error) {
	if n.dir != s.root {
		t := s.tree(n.layer)
		if i := t.inode(n.id); n.dir == nil || i.entry != noEntry {
			return origin{t, i}, nil
		}
	}
	n.dir.mu.Lock()
	known := n.dir.origin
	n.dir.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	found, err := s.findOrigin(ctx, n)
	if err != nil {
		return origin{}, err
	}
	n.dir.mu.Lock()
	n.dir.origin = &found
	n.dir.mu.Unlock()
	return found, nil
}

// findOrigin returns the origin of a directory. One that its layer has no entry for
// is like the one that the layers below show by the same name; what its layer hides
// of that does not matter, since containerd makes directories so.
func (s *Stack) findOrigin(ctx context.Context, n Node) (origin, error) {
	for n.dir != s.root {
		t := s.tree(n.layer)
		if i := t.inode(n.id); i.entry != noEntry {
			return origin{t, i}, nil
		}
		if n.kind&covers != 0 {
			break
		}
		below := Node{dir: &directory{below: int(n.layer)}}
		for _, name := range n.dir.path() {
			next, _, err := s.Lookup(ctx, below, name) // without a directory nothing is found
			if err != nil {
				return origin{}, err
			}
			below = next
		}
		if !below.IsDir() {
			break
		}
		if err := context.Cause(ctx); err != nil {
			return origin{}, err
		}
		n = below
	}
	return origin{}, nil
}

// linksAbove is how many hard links of the layers above an inode have it as their
// target. These layers are there, or the inode would not have been found.
func (s *Stack) linksAbove(ctx context.Context, lead part) (uint32, error) {
	for layer := int(lead.layer) + 1; layer < len(s.trees); layer++ {
		if t := s.trees[layer].Load(); t != nil && len(t.crossing) > 0 {
			links, err := s.crossing(ctx)
			if err != nil {
				return 0, err
			}
			return links.names[lead], nil
		}
	}
	return 0, nil
}

// owner is a user or group as Linux has them; the last number stands for none.
func owner(id int) uint32 {
	if id < 0 || int64(id) >= math.MaxUint32 {
		return 0
	}
	return uint32(id)
}

// bounded is a time as containerd would set it.
func bounded(t time.Time) time.Time {
	if t.Before(time.Unix(0, 0)) || t.After(time.Unix(0, math.MaxInt64)) {
		return time.Unix(0, 0)
	}
	return t
}

// Ino is a number that the node has for itself in its Stack, but for hard links:
// all names of one file have the same. It is the same in each Stack of the same
// layers, and only the root has 0.
func (s *Stack) Ino(n Node) uint64 {
	if n.dir == s.root {
		return 0
	}
	lead := s.tree(n.layer).inode(n.id).lead
	return uint64(n.layer)<<32 | uint64(lead)
}

// Source says which layer a node is from, and by which entry of it. The entry of a
// directory is -1 where the layer has none for it; the root is from no layer.
func (s *Stack) Source(n Node) (layer, entry int) {
	if n.dir == s.root {
		return -1, -1
	}
	e := s.tree(n.layer).entries[n.id]
	if e == noEntry {
		return int(n.layer), -1
	}
	return int(n.layer), int(e)
}

// Contents says where the bytes of a regular file are: in which layer, and there
// as the Data, Size and Extents of an entry say. It is not ok for anything else.
func (s *Stack) Contents(n Node) (layer int, e Entry, ok bool) {
	if n.kind.is(tar.TypeReg) && n.dir == nil && int(n.layer) < len(s.trees) {
		if t := s.tree(n.layer); t != nil {
			return int(n.layer), t.table.Entry(int(t.inode(n.id).entry)), true
		}
	}
	return 0, Entry{}, false
}
