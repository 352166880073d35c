package fs

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// reclaimEach is how many names the kernel forgets before what they took is worth a
	// collection: they hold some hundred bytes each.
	reclaimEach = 1 << 16
	// reclaimAfter is how long after that it is: the kernel forgets in bursts.
	reclaimAfter = 2 * time.Second
)

// reclaiming gives the memory of very many names back to the system when the kernel has
// forgotten them: a process that has nothing to do has no reason to collect by itself, and
// what it had at most would stay with it.
type reclaiming struct {
	fuse.RawFileSystem
	forgotten atomic.Int64 // names, so far
	due       *time.Timer  // to collect; set once
}

func newReclaiming(raw fuse.RawFileSystem, collect func()) *reclaiming {
	r := &reclaiming{RawFileSystem: raw, due: time.AfterFunc(reclaimAfter, collect)}
	r.due.Stop() // nothing is due yet
	return r
}

// collectNow collects, and gives back all that is free.
func collectNow() { debug.FreeOSMemory() }

// Forget is called for each inode of which the kernel drops all names.
func (r *reclaiming) Forget(inode, lookups uint64) {
	r.RawFileSystem.Forget(inode, lookups)
	if r.forgotten.Add(1)%reclaimEach == 0 {
		r.due.Reset(reclaimAfter)
	}
}
