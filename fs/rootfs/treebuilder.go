package rootfs

import (
	"archive/tar"
	"fmt"
	"hash/maphash"
	"strings"
)

const (
	// maxNodes is how many nodes a tree may have: a name can make a thousand
	// directories.
	maxNodes = MaxEntries + 1<<20
	// maxNames is how long the components of all names of a tree may be.
	maxNames = 512 << 20
	// maxComponent is the length of a file name in Linux.
	maxComponent = 255
	// maxLinks is how many symbolic links one name may lead through; containerd
	// follows as many.
	maxLinks = 255
	// maxSteps bounds how many components may be looked up for the sake of
	// symbolic links, of all names together. It is what a second is enough for.
	maxSteps = 16 << 20
)

// A treeBuilder applies entries one after the other, as unpacking them would.
//
// Nothing is ever taken out: a name that is replaced has another node from then
// on, and what was below the old one is not reached any more.
type treeBuilder struct {
	table  *Table
	report func(*EntryError)
	nodes  []buildNode
	names  strings.Builder
	// slots finds the node of a directory's name: a hash table with open addressing,
	// of 1 + the number of a node.
	slots []uint32
	seed  maphash.Seed
	steps int

	bindings []binding
	forward  []uint32            // nodes of hard links whose target was not there
	crossing map[uint32][]string // of those that no later entry was the target of: where it is below

	path  []uint32 // scratch of walk
	queue []string // scratch of walk: components to come, the next one last
	parts []string // scratch of add
}

type buildNode struct {
	parent  uint32
	nameAt  uint32
	entry   uint32
	inode   uint32 // the node that has the contents; of most, itself
	nameLen uint8
	kind    kind
}

// A binding is an entry that came to an inode that was there.
type binding struct{ inode, entry uint32 }

const buildRoot = 0

func newTreeBuilder(t *Table, report func(*EntryError)) *treeBuilder {
	b := &treeBuilder{table: t, report: report, seed: maphash.MakeSeed()}
	size := 64
	for size < 2*t.Len() {
		size *= 2
	}
	b.slots = make([]uint32, size)
	b.nodes = append(make([]buildNode, 0, t.Len()+t.Len()/16+1), buildNode{entry: noEntry, kind: kindOf(tar.TypeDir)})
	return b
}

const (
	whiteoutPrefix = ".wh."
	// metaPrefix is what aufs keeps its own files under.
	metaPrefix   = ".wh..wh."
	opaqueMarker = ".wh..wh..opq"
)

// add applies the entry that a cursor has read.
func (b *treeBuilder) add(c *cursor) error {
	name := string(c.name)
	b.parts, _ = cleaned(name, b.parts[:0]) // above the root is the root
	if len(b.parts) == 0 {
		// The root is a directory whatever the layers say; containerd takes nothing
		// else of it either.
		return nil
	}
	base := b.parts[len(b.parts)-1]
	b.enter(b.parts[:len(b.parts)-1])
	parent, reason, err := b.walk(true)
	if err != nil {
		return err
	}
	if reason == "" {
		reason, err = b.apply(c, parent, base)
	}
	if reason != "" && b.report != nil {
		b.report(&EntryError{name, reason})
	}
	return err
}

// apply applies an entry whose parent is there. It returns why it is not shown, if
// it is not.
func (b *treeBuilder) apply(c *cursor, parent uint32, base string) (reason string, err error) {
	if base == opaqueMarker {
		b.nodes[parent].kind |= opaque
		return "", nil
	}
	if strings.HasPrefix(base, metaPrefix) {
		return "", nil
	}
	hidden, isWhiteout := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case isWhiteout && (hidden == "" || hidden == "." || hidden == ".."):
		return "a whiteout of nothing", nil
	case len(hidden) > maxComponent: // all of base, where it is no whiteout
		return longComponent, nil
	case isWhiteout:
		return "", b.whiteOut(parent, hidden)
	case len(b.path) > MaxDepth:
		return tooDeep, nil
	case c.kind == tar.TypeLink:
		return b.link(c, parent, base)
	case c.kind == tar.TypeChar && c.major == 0 && c.minor == 0:
		// Unpacked, it is how overlayfs stores a whiteout, and would be one.
		return "", b.put(parent, base, whiteout|covers, noEntry)
	}
	return "", b.put(parent, base, kindOf(c.kind), uint32(c.i))
}

// Reasons for which more than one place hides an entry.
const (
	longComponent = "a component of more than 255 bytes"
	tooDeep       = "too many directories in the name"
)

// cleaned appends the components of a path to parts, without those that are
// undone by a "..", as path.Clean does. It returns how many of these are left.
func cleaned(path string, parts []string) ([]string, int) {
	up, own := 0, len(parts)
	for len(path) > 0 {
		var part string
		part, path, _ = strings.Cut(path, "/")
		switch {
		case part == "" || part == ".":
		case part != "..":
			parts = append(parts, part)
		case len(parts) > own:
			parts = parts[:len(parts)-1]
		default:
			up++
		}
	}
	return parts, up
}

// enter makes parts the components that walk will go, from the root on.
func (b *treeBuilder) enter(parts []string) {
	b.path = append(b.path[:0], buildRoot)
	b.queue = b.queue[:0]
	b.goOn(parts)
}

// goOn puts parts before the components that are still to come.
func (b *treeBuilder) goOn(parts []string) {
	for i := len(parts) - 1; i >= 0; i-- {
		b.queue = append(b.queue, parts[i])
	}
}

// walk goes the way that enter has set, through symbolic links and never above
// the root, and returns the directory at its end. What is missing is made, or the
// node is noNode: then path is how far it came, and queue what is still to come.
// reason says why there is no way.
//
// It is what RootPath of containerd's continuity does: a link's target is cleaned
// before it is followed.
func (b *treeBuilder) walk(create bool) (node uint32, reason string, err error) {
	links := 0
	for len(b.queue) > 0 {
		part := b.queue[len(b.queue)-1]
		b.queue = b.queue[:len(b.queue)-1]
		here := b.path[len(b.path)-1]
		if part == ".." {
			b.path = b.path[:max(1, len(b.path)-1)]
			continue
		}
		if len(part) > maxComponent {
			return noNode, longComponent, nil
		}
		next := b.find(here, part)
		if next == noNode || b.nodes[next].kind&kindBits == whiteout {
			if !create {
				b.queue = append(b.queue, part)
				return noNode, "", nil
			}
			if len(b.path) > MaxDepth {
				return noNode, tooDeep, nil
			}
			if err := b.put(here, part, kindOf(tar.TypeDir), noEntry); err != nil {
				return noNode, "", err
			}
			next = b.find(here, part)
		}
		switch kind := b.nodes[next].kind; {
		case kind.is(tar.TypeDir):
			b.path = append(b.path, next)
		case !kind.is(tar.TypeSymlink):
			return noNode, "its parent is no directory", nil
		case links == maxLinks:
			return noNode, "too many symbolic links", nil
		default:
			links++
			if err := b.follow(next); err != nil {
				return noNode, "", err
			}
		}
	}
	return b.path[len(b.path)-1], "", nil
}

// follow puts the target of a symbolic link before what is still to come.
func (b *treeBuilder) follow(link uint32) error {
	target := b.table.Entry(int(b.nodes[b.nodes[link].inode].entry)).Linkname
	parts, up := cleaned(target, nil)
	if strings.HasPrefix(target, "/") {
		up = len(b.path)
	}
	b.path = b.path[:max(1, len(b.path)-up)]
	b.goOn(parts)
	if b.steps += blockEntries + len(parts); b.steps > maxSteps {
		return fmt.Errorf("%w: symbolic links through more than %d directories", ErrTooLarge, maxSteps)
	}
	return nil
}

// put makes a name what an entry says. A directory that is one already stays
// the same.
func (b *treeBuilder) put(parent uint32, name string, kind kind, entry uint32) error {
	old := b.find(parent, name)
	if old == noNode {
		return b.newNode(parent, name, kind, entry)
	}
	n := &b.nodes[old]
	switch {
	case n.kind&kindBits == whiteout:
		n.kind, n.entry = kind|covers, entry
		return nil
	case !n.kind.is(tar.TypeDir) || !kind.is(tar.TypeDir):
		return b.newNode(parent, name, kind|n.kind&covers, entry)
	case n.entry == noEntry:
		n.entry = entry
	default:
		b.bind(old, entry)
	}
	return nil
}

// whiteOut takes down that a name hides what is below.
func (b *treeBuilder) whiteOut(parent uint32, name string) error {
	if old := b.find(parent, name); old != noNode {
		b.nodes[old].kind |= covers
		return nil
	}
	return b.newNode(parent, name, whiteout|covers, noEntry)
}

// newNode makes a node and gives it the name, whoever had that.
func (b *treeBuilder) newNode(parent uint32, name string, kind kind, entry uint32) error {
	if len(b.nodes) == maxNodes {
		return fmt.Errorf("%w: more than %d files and directories", ErrTooLarge, maxNodes)
	}
	if b.names.Len()+len(name) > maxNames {
		return fmt.Errorf("%w: names of more than %d bytes", ErrTooLarge, maxNames)
	}
	if 4*len(b.nodes) > 3*len(b.slots) {
		b.grow()
	}
	node := uint32(len(b.nodes))
	at := b.slot(parent, name)
	n := buildNode{parent: parent, entry: entry, inode: node, nameLen: uint8(len(name)), kind: kind}
	if old := b.slots[at]; old != 0 {
		n.nameAt = b.nodes[old-1].nameAt
	} else {
		n.nameAt = uint32(b.names.Len())
		b.names.WriteString(name)
	}
	b.nodes = append(b.nodes, n)
	b.slots[at] = node + 1
	return nil
}

// name is the last component of a node's name.
func (b *treeBuilder) name(node uint32) string {
	n := &b.nodes[node]
	return b.names.String()[n.nameAt : n.nameAt+uint32(n.nameLen)]
}

// find returns the node that a name of a directory has now.
func (b *treeBuilder) find(parent uint32, name string) uint32 {
	// An empty slot gives noNode.
	return b.slots[b.slot(parent, name)] - 1
}

// slot is where in slots a name is, or would be.
func (b *treeBuilder) slot(parent uint32, name string) int {
	hash := (maphash.String(b.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15) * 0x9e3779b97f4a7c15
	for at := int(hash>>32) & (len(b.slots) - 1); ; at = (at + 1) & (len(b.slots) - 1) {
		node := b.slots[at]
		if node == 0 || b.nodes[node-1].parent == parent && node-1 != buildRoot && b.name(node-1) == name {
			return at
		}
	}
}

// grow makes the hash table twice as large.
func (b *treeBuilder) grow() {
	old := b.slots
	b.slots = make([]uint32, 2*len(old))
	for _, node := range old {
		if node != 0 {
			b.slots[b.slot(b.nodes[node-1].parent, b.name(node-1))] = node
		}
	}
}
