package fs

import (
	"sync"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// An openMode is how the kernel reads an open file.
type openMode int

const (
	// direct asks for each read: what is not verified yet must not stay in the
	// page cache, from where a second reader would get it without an error.
	direct openMode = iota
	// fresh reads through the page cache, which has nothing of the file.
	fresh
	// kept reads through the page cache, which may have some of the file.
	kept
	// passed reads another file (FUSE passthrough).
	passed
)

// opens knows the inodes that are open, and those whose pages, if the kernel has any, are
// right.
//
// All open files of an inode are passed, and the same file for all, or none is. Linux
// answers EIO to an open that is another way than those before (fs/fuse/iomode.c), and
// go-fuse (2.12) counts whoever closes the inode as one who was passed: if he was not, the
// kernel is no longer given the file that the next one is to read, and that is EIO, too. It counts
// after it has told us, and so an open file is one until the whole call is over.
type opens struct {
	mu      sync.Mutex
	good    map[uint64]bool              // guarded by mu; opened since they were verified
	open    map[uint64]*handles          // guarded by mu
	closing map[<-chan struct{}][]uint64 // guarded by mu; inodes, by the calls that close them
}

// handles are the open files of an inode.
type handles struct {
	n      int
	passed tree.BackingFile // what all of them are passed; nil is none
}

// keptInodes bounds how many inodes are known to have good pages. A file that is
// forgotten here has its pages dropped at its next open, no more.
const keptInodes = 1 << 16

func newOpens() *opens {
	return &opens{good: map[uint64]bool{}, open: map[uint64]*handles{}, closing: map[<-chan struct{}][]uint64{}}
}

// add takes note of one more open file and says how it is read, and what is passed where
// it is that, which may be of an earlier one; close is called when it is closed. verified says that
// all of its bytes are right; backing is a file to pass, or nil. It is closed here.
func (o *opens) add(ino uint64, verified bool, backing tree.BackingFile) (openMode, tree.BackingFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.open[ino]
	if h == nil {
		h = &handles{passed: backing}
		o.open[ino] = h
	} else if backing != nil {
		_ = backing.Close() // nothing was read of it
	}
	h.n++
	if !verified {
		delete(o.good, ino)
	}
	switch {
	case h.passed != nil: // which has the right bytes, whatever became of the blob
		return passed, h.passed
	case !verified:
		return direct, nil
	case o.good[ino]:
		return kept, nil
	}
	if len(o.good) >= keptInodes {
		clear(o.good)
	}
	o.good[ino] = true
	return fresh, nil
}

// close takes note that a call closes an open file. It is closed when the call is over.
func (o *opens) close(call <-chan struct{}, ino uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing[call] = append(o.closing[call], ino)
}

// over takes note that a call is over.
func (o *opens) over(call <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ino := range o.closing[call] {
		h := o.open[ino]
		if h.n--; h.n > 0 {
			continue
		}
		delete(o.open, ino)
		if h.passed != nil {
			_ = h.passed.Close() // it has no name, and the kernel its own reference
		}
	}
	delete(o.closing, call)
}
