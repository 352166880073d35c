package tree

import "archive/tar"

// An Inner is a node that is in an image and no directory. It is found again by a number, so that
// nobody need hold on to millions of them.
type Inner interface {
	Attributed
	// Origin is what to ask, the same for all that are in one image as long as somebody holds
	// on to it, and the number, below 1<<42. All names of one file have the same.
	Origin() (from Origin, number uint64)
}

// An Origin is what is in an image. Origins can be compared. They are safe for concurrent use.
type Origin interface {
	// Inner returns the node that has a number, or nil where none has it.
	Inner(number uint64) Inner
	// Path is where it is from the root of the tree, by one of its names.
	Path(number uint64) string
}

var (
	_ Inner  = rootfsFile{}
	_ Inner  = rootfsLink{}
	_ Inner  = rootfsSpecial{}
	_ Origin = (*rootfsImage)(nil)
)

// An innerLeaf is an innerNode that is no directory.
type innerLeaf struct{ innerNode }

// inner is the leaf as what it is.
func (n innerLeaf) inner() Inner {
	switch n.node.Type() {
	case tar.TypeReg:
		return rootfsFile{n}
	case tar.TypeSymlink:
		return rootfsLink{n}
	}
	return rootfsSpecial{n}
}

// Origin is the image.
func (n innerLeaf) Origin() (from Origin, number uint64) { return n.image, n.image.files.Ino(n.node) }

// Inner returns the node that has the number.
func (i *rootfsImage) Inner(number uint64) Inner {
	n, ok := i.files.At(number)
	if !ok {
		return nil
	}
	return innerLeaf{innerNode{i, n}}.inner()
}

// Path is where a node is.
func (i *rootfsImage) Path(number uint64) string {
	n, ok := i.files.At(number)
	if !ok {
		return i.path()
	}
	return i.path() + "/" + i.files.Path(n)
}
