package rootfs

import (
	"archive/tar"
	"slices"
	"strings"
)

// A LayerTree is what the entries of one layer come to in an empty directory:
// of several with one name the last is there, parents that have no entry are
// directories, and a parent that is a symbolic link of the same layer leads to
// where that points to, within the root. Whiteouts are in the tree, as what they
// say of the layers below.
//
// It is an index into the layer's [Table]: about 14 bytes for each name, and the
// last component of that. It is immutable and safe for concurrent use, and all
// images that have the layer can share it.
//
// Nodes are numbered so that 0 is the root, and the children of a directory follow
// each other, sorted by the bytes of their names. The numbers follow from the
// names alone, whichever way the table was made.
type LayerTree struct {
	table   *Table
	names   string
	nameAt  []uint32 // where in names that of each node begins
	nameLen []uint8
	entries []uint32 // the entry that a node is made by, or noEntry
	kinds   []kind
	first   []uint32 // the first child of each node; they end with the first of the next

	linked   []uint32 // nodes whose inode has more to it than their entry, sorted
	linkedTo []uint32 // for each of those its inode
	inodes   []inode
	crossing []crossing
}

// kind says what a node is and what it hides: in the lowest three bits the digit
// of a type that a tar header has, or whiteout. A hard link has the type of its
// target; TypeLink is one whose target is not in the layer.
type kind uint8

const (
	kindBits kind = 0x07
	// whiteout is a name that has no entry in this layer and hides what the layers
	// below have of it.
	whiteout kind = 7
	// covers: what the layers below have of the name is hidden, even if both are
	// directories. The layer has a whiteout of it too.
	covers kind = 0x08
	// opaque is a directory that hides the children that it has below.
	opaque kind = 0x10
	// isLinked: the node is in linked.
	isLinked kind = 0x20
	// gone is a name that turned out to have nothing to it. Trees have none.
	gone kind = 0x40
)

func kindOf(typeflag byte) kind { return kind(typeflag - '0') }

func (k kind) is(typeflag byte) bool { return k&kindBits == kindOf(typeflag) }

// noEntry stands for the entry of a directory that is only there for what is
// in it.
const noEntry = 1<<32 - 1

// noNode stands for a node that there is none of.
const noNode = 1<<32 - 1

// An inode is what several names of a layer share, or what one name has of several
// entries: a hard link sets the owner, the mode, the time and the attributes anew,
// and so does the second entry of a directory.
type inode struct {
	entry   uint32   // of the contents
	latest  uint32   // the entry that owner, mode and time are from
	updates []uint32 // entries with attributes that those before them did not have, in the order of the archive
	links   uint32   // names of it
	lead    uint32   // its first node
}

// A crossing is a hard link to something that only a layer below can have.
type crossing struct {
	node uint32
	to   []string // the components of its target
}

// NewLayerTree makes the tree of a layer. What of it cannot be shown is left out
// and handed to report. An error means that the layer passes a limit.
func NewLayerTree(t *Table, report func(*EntryError)) (*LayerTree, error) {
	b := newTreeBuilder(t, report)
	for c := t.cursor(0); c.next(); {
		if err := b.add(c); err != nil {
			return nil, err
		}
	}
	if err := b.bindForward(); err != nil {
		return nil, err
	}
	return b.tree(), nil
}

// Table is the entries that the tree was made of.
func (t *LayerTree) Table() *Table { return t.table }

// Len is the number of nodes, whiteouts among them.
func (t *LayerTree) Len() int { return len(t.kinds) }

// name is the last component of a node's name; the root's is empty.
func (t *LayerTree) name(node uint32) string {
	at := t.nameAt[node]
	return t.names[at : at+uint32(t.nameLen[node])]
}

// lookup finds a child of a directory by name.
func (t *LayerTree) lookup(dir uint32, name string) (node uint32, ok bool) {
	from, to := t.first[dir], t.first[dir+1]
	for from < to {
		middle := from + (to-from)/2
		switch c := strings.Compare(t.name(middle), name); {
		case c == 0:
			return middle, true
		case c < 0:
			from = middle + 1
		default:
			to = middle
		}
	}
	return noNode, false
}

// inode returns what is shared by all names of a node's inode. Its entry is
// noEntry for a directory that has none.
func (t *LayerTree) inode(node uint32) inode {
	if t.kinds[node]&isLinked != 0 {
		if i, ok := slices.BinarySearch(t.linked, node); ok {
			return t.inodes[t.linkedTo[i]]
		}
	}
	return inode{entry: t.entries[node], latest: t.entries[node], links: 1, lead: node}
}

// xattrs are the extended attributes of an inode, whose first entry has those: what
// later entries have counts before it.
func (t *LayerTree) xattrs(all []Xattr, i inode, kind kind) []Xattr {
	for _, update := range i.updates {
		if more := t.table.Entry(int(update)).Xattrs; len(more) > 0 {
			all = normalize(slices.Concat(all, more))
		}
	}
	if len(all) == 0 || kind.is(tar.TypeReg) || kind.is(tar.TypeDir) {
		return all
	}
	// Linux knows user attributes of files and directories alone (xattr(7)).
	return slices.DeleteFunc(slices.Clone(all), func(x Xattr) bool { return strings.HasPrefix(x.Name, "user.") })
}
