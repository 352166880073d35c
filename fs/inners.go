package fs

import (
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// The number by which the kernel calls a node, its node ID, says of a file in an image all that
// there is to know: which image and which file. So this process keeps nothing for each, however
// many millions the kernel has looked up; go-fuse took 430 bytes. It knows all other nodes, by IDs
// that it counts from 1 on.
const (
	innerBit   = 1 << 63
	numberBits = 42 // of a tree.Inner; those between are the image's
	maxSlot    = 1<<(63-numberBits) - 1
)

// isInner says whether a node ID is that of a file in an image.
func isInner(id uint64) bool { return id&innerBit != 0 }

// inners are the images that the kernel knows files of. They are safe for concurrent use.
type inners struct {
	mu     sync.Mutex
	slots  map[uint64]*innerImage      // guarded by mu; by the image's part of node IDs
	images map[tree.Origin]*innerImage // guarded by mu
	last   uint64                      // guarded by mu; the last slot that was given away
	server *fuse.Server                // set once, before the kernel asks anything; nil without a kernel
}

// An innerImage is an image that the kernel knows files of.
type innerImage struct {
	slot    uint64
	origin  tree.Origin
	lookups uint64 // that the kernel has not taken back; guarded by the mu of its inners
}

func newInners() *inners {
	return &inners{slots: map[uint64]*innerImage{}, images: map[tree.Origin]*innerImage{}}
}

// add takes note that the kernel is told of a file, and returns its node ID. The kernel takes it
// back with forget.
func (x *inners) add(node tree.Inner) uint64 {
	from, number := node.Origin()
	x.mu.Lock()
	defer x.mu.Unlock()
	image := x.images[from]
	if image == nil {
		// Numbers come again late: a mistake is more easily seen then.
		for taken := true; taken; _, taken = x.slots[x.last] {
			x.last = (x.last + 1) & maxSlot
		}
		image = &innerImage{slot: x.last, origin: from}
		x.slots[image.slot], x.images[from] = image, image
	}
	image.lookups++
	return image.id(number)
}

func (i *innerImage) id(number uint64) uint64 { return innerBit | i.slot<<numberBits | number }

// forget takes note that the kernel takes back so many lookups of a file.
func (x *inners) forget(id, lookups uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	image := x.slots[slotOf(id)]
	if image == nil {
		return
	}
	if image.lookups -= min(lookups, image.lookups); image.lookups == 0 {
		delete(x.slots, image.slot)
		delete(x.images, image.origin)
	}
}

// node returns the node that has an ID, or nil where the kernel was told of none.
func (x *inners) node(id uint64) tree.Inner {
	x.mu.Lock()
	image := x.slots[slotOf(id)]
	x.mu.Unlock()
	if image == nil {
		return nil
	}
	return image.origin.Inner(id & (1<<numberBits - 1))
}

func slotOf(id uint64) uint64 { return id >> numberBits & maxSlot }

// id returns the node ID of a file that the kernel was told of, if it was.
func (x *inners) id(node tree.Inner) (id uint64, ok bool) {
	from, number := node.Origin()
	x.mu.Lock()
	image := x.images[from]
	x.mu.Unlock()
	if image == nil {
		return 0, false
	}
	return image.id(number), true
}

// store has the kernel keep p as the first pages of a file. Where it cannot it asks for them.
func (x *inners) store(id uint64, p []byte) {
	if x.server != nil {
		_ = x.server.InodeNotifyStoreCache(id, 0, p)
	}
}

// drop drops the file's pages from the kernel's cache. It waits for READs of it.
func (x *inners) drop(node tree.Inner) {
	if id, ok := x.id(node); ok && x.server != nil {
		_ = x.server.InodeNotify(id, 0, 0) // an inode that is gone has no pages
	}
}

// errAnswered ends a Lookup in go-fuse that has told the kernel of a file in an image: all of the
// answer is there. No system call has it for an error.
const errAnswered = syscall.Errno(1 << 16)

// openInners are the open files in images, by the numbers that the kernel calls them by. They are
// safe for concurrent use.
type openInners struct {
	mu   sync.Mutex
	open map[uint64]*handle // guarded by mu
	last uint64             // guarded by mu
}

func (o *openInners) add(h *handle) (fh uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[uint64]*handle{}
	}
	o.last++
	o.open[o.last] = h
	return o.last
}

func (o *openInners) get(fh uint64) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[fh]
}

func (o *openInners) remove(fh uint64) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.open[fh]
	delete(o.open, fh)
	return h
}
