package tree

import (
	"archive/tar"
	"context"
	iofs "io/fs"
	"iter"

	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// An innerNode is a file or directory that is in an image.
type innerNode struct {
	image *rootfsImage
	node  rootfs.Node
}

// node returns the node of the tree that stands for one of the image.
func (i *rootfsImage) node(n rootfs.Node) Node {
	inner := innerNode{i, n}
	if n.IsDir() {
		return rootfsDir{inner}
	}
	return innerLeaf{inner}.inner()
}

// A rootfsSpecial is a device or a named pipe.
type rootfsSpecial struct{ innerLeaf }

// number is the inode number: the same for all names of one file, and another than any
// other in the image has.
func (n innerNode) number() uint64 {
	const spread = 0x9e3779b97f4a7c15 // odd, so that numbers stay apart in 63 bits; images lie anywhere then
	number := (n.image.ino + n.image.files.Ino(n.node)*spread) & (1<<63 - 1)
	if number < 2 {
		number += 1 << 62
	}
	return number
}

// mode is what a type of the archive is.
func (n innerNode) mode() iofs.FileMode {
	switch n.node.Type() {
	case tar.TypeDir:
		return iofs.ModeDir
	case tar.TypeSymlink:
		return iofs.ModeSymlink
	case tar.TypeChar:
		return iofs.ModeDevice | iofs.ModeCharDevice
	case tar.TypeBlock:
		return iofs.ModeDevice
	case tar.TypeFifo:
		return iofs.ModeNamedPipe
	}
	return 0
}

// Attr is what the layers say. Of the root they say nothing: it is as old as the image
// is known.
func (n innerNode) Attr(ctx context.Context) (Attr, error) {
	a, err := n.image.files.Attr(ctx, n.node)
	if err != nil {
		return Attr{}, err
	}
	attr := Attr{
		Mode: n.mode() | permissions(a.Mode), Size: a.Size, ModTime: a.ModTime, Ino: n.number(), Lifetime: Forever,
		Recorded: &Recorded{UID: a.UID, GID: a.GID, Links: a.Links, Devmajor: a.Devmajor, Devminor: a.Devminor, Image: n.image.generation},
	}
	if n.isRoot() {
		attr.ModTime = n.image.seen
	}
	return attr, nil
}

// isRoot says whether the node is the root directory of its image.
func (n innerNode) isRoot() bool { return n.node.IsDir() && n.image.files.Ino(n.node) == 0 }

// permissions are the twelve bits of chmod(2).
func permissions(mode uint32) iofs.FileMode {
	m := iofs.FileMode(mode & 0o777)
	for _, bit := range []struct {
		of uint32
		is iofs.FileMode
	}{{0o4000, iofs.ModeSetuid}, {0o2000, iofs.ModeSetgid}, {0o1000, iofs.ModeSticky}} {
		if mode&bit.of != 0 {
			m |= bit.is
		}
	}
	return m
}

// A rootfsDir is a directory that is in an image.
type rootfsDir struct{ innerNode }

var _ Versioned = rootfsDir{}

// Version is always the same: what is in an image is by its digest.
func (d rootfsDir) Version() (string, bool) { return d.image.digest.String(), true }

// Lookup waits for the layers that decide what the name is. That there is none is
// for ever too.
func (d rootfsDir) Lookup(ctx context.Context, name string) (Child, error) {
	n, ok, err := d.image.files.Lookup(ctx, d.node, name)
	switch {
	case err != nil:
		return Child{}, err
	case !ok:
		return Child{}, ErrNever
	}
	return Child{Node: d.image.node(n), Lifetime: Forever}, nil
}

// List waits for all layers that have something in the directory.
func (d rootfsDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		children, err := d.image.files.Children(ctx, d.node)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, c := range children {
			inner := innerNode{d.image, c.Node}
			if !yield(Entry{Name: c.Name, Mode: inner.mode(), Ino: inner.number()}, nil) {
				return
			}
		}
	}
}

// A rootfsLink is a symbolic link that is in an image. Where it leads to is what the image
// says: from the root of that, where it begins with a slash.
type rootfsLink struct{ innerLeaf }

var _ Link = rootfsLink{}

func (l rootfsLink) Target(ctx context.Context) (string, error) {
	a, err := l.image.files.Attr(ctx, l.node)
	return a.Target, err
}
