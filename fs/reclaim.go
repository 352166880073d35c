package fs

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// reclaimEach is how many nodes the kernel forgets before a collection is worth its while.
	reclaimEach = 1 << 16
	// reclaimAfter is how long after that it is: the kernel forgets in bursts.
	reclaimAfter = 2 * time.Second
)

// A reclaimer gives memory back to the system when the kernel has forgotten very many nodes,
// and with the last ones of an image all that is known of its layers. A process that has nothing
// to do has no reason to collect by itself, and would keep what it had at most. It is safe for
// concurrent use.
type reclaimer struct {
	forgotten atomic.Int64 // nodes, so far
	due       *time.Timer  // to collect
}

func newReclaimer(collect func()) *reclaimer {
	r := &reclaimer{due: time.AfterFunc(reclaimAfter, collect)}
	r.due.Stop() // nothing is due yet
	return r
}

// collectAll collects, and gives back all that is free.
func collectAll() { debug.FreeOSMemory() }

// forgot takes note that the kernel has forgotten a node.
func (r *reclaimer) forgot() {
	if r.forgotten.Add(1)%reclaimEach == 0 {
		r.due.Reset(reclaimAfter)
	}
}
