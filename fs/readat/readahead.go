package readat

import (
	"context"
	"math/bits"
	"sync"
)

// The window of read-ahead. A reader is taken for sequential after
// sequentialAfter bytes in a row: tar(1) listing an archive reads two or three
// records of 10 KiB around each header and must not start a download of the
// layer behind it. From then on the window is as long as what has been read in
// a row, up to maxWindow, so that one who stops early has fetched at most twice
// what he read.
const (
	sequentialAfter = 512 << 10
	maxWindow       = 32 << 20
	// minStep and maxStep bound by how much the window moves at once, a quarter
	// of it in between: each move may become a request, and one of 8 MiB keeps a
	// connection busy for many round trips.
	minStep = 128 << 10
	maxStep = 8 << 20
	// slack is how far out of order a reader may go and still count as
	// sequential: the kernel sends the READs of one read(2) in parallel.
	slack = 1 << 20
)

// ReadAhead returns a Reader of r for one open file: it recognises a sequential
// reader and asks r to prefetch a window ahead of it. A seek closes the window.
// r must be a Prefetcher to gain from it; others are returned as they are.
func ReadAhead(r Reader) Reader {
	p, ok := r.(Prefetcher)
	if !ok {
		return r
	}
	return &readAhead{Reader: r, ahead: p}
}

type readAhead struct {
	Reader
	ahead Prefetcher

	mu   sync.Mutex
	next int64 // guarded by mu; where a sequential reader goes on
	run  int64 // guarded by mu; bytes read in a row
	upTo int64 // guarded by mu; what was asked for ends here
}

func (r *readAhead) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	// Before the read: the bytes wanted now and those wanted soon are then one
	// range, not two.
	if from, n := r.advance(off, int64(len(p))); n > 0 {
		r.ahead.Prefetch(from, n)
	}
	return r.Reader.ReadAt(ctx, p, off)
}

// advance takes note of a read and returns the range to prefetch, which is
// empty while the window need not move.
func (r *readAhead) advance(off, n int64) (from, length int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := off + n
	if off < r.next-slack || off > r.next+slack {
		r.next, r.run, r.upTo = end, n, 0
		return 0, 0
	}
	// What is read again is no progress, and neither is what was skipped.
	r.run += min(n, max(end-r.next, 0))
	r.next = max(r.next, end)
	if r.run < sequentialAfter {
		return 0, 0
	}
	window := min(r.run, maxWindow)
	// A power of two: steps of a growing window then end at the same places.
	step := int64(1) << (bits.Len64(uint64(min(max(window/4, minStep), maxStep))) - 1)
	target := min((r.next+window)/step*step, r.Size())
	if target <= r.upTo {
		return 0, 0
	}
	from = max(off, r.upTo)
	r.upTo = target
	return from, target - from
}
