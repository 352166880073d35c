package fs

import "sync"

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

// opens knows the inodes that are open, and those whose pages, if the kernel has
// any, are right. An inode must not be open through the page cache and passed at
// once: the kernel answers EIO.
type opens struct {
	mu   sync.Mutex
	good map[uint64]bool     // guarded by mu; opened since they were verified
	open map[uint64]*handles // guarded by mu
}

// handles are the open files of an inode.
type handles struct {
	n      int
	cached bool // one of them was opened through the page cache
	passed bool // one of them was passed
}

// keptInodes bounds how many inodes are known to have good pages. A file that is
// forgotten here has its pages dropped at its next open, no more.
const keptInodes = 1 << 16

func newOpens() *opens { return &opens{good: map[uint64]bool{}, open: map[uint64]*handles{}} }

// add takes note of one more open file and says how it is read; remove is called
// when it is closed. verified says that all of its bytes are right, backed that
// there is a file to pass.
func (o *opens) add(ino uint64, verified, backed bool) openMode {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.open[ino]
	if h == nil {
		h = &handles{}
		o.open[ino] = h
	}
	h.n++
	switch {
	case !verified:
		delete(o.good, ino)
		return direct
	case backed && !h.cached:
		h.passed = true
		return passed
	case h.passed:
		return direct
	}
	h.cached = true
	if o.good[ino] {
		return kept
	}
	if len(o.good) >= keptInodes {
		clear(o.good)
	}
	o.good[ino] = true
	return fresh
}

// remove takes note that an open file was closed.
func (o *opens) remove(ino uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.open[ino]
	if h == nil {
		return
	}
	if h.n--; h.n == 0 {
		delete(o.open, ino)
	}
}
