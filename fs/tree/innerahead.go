package tree

import (
	"context"
	"sync"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// minInnerAhead is from which size on a file in an image is read ahead: nobody is taken for one
// who reads in order before he has read as much.
const minInnerAhead = 256 << 10

// innerAheadLimit ends the making of spans ahead that hangs.
const innerAheadLimit = 10 * time.Minute

// An innerAhead is a file in an image, or all plain bytes of a layer, of which bytes are made before
// somebody reads them: those of a layer that has a table of contents, or whose plain bytes were
// evicted, a span at a time otherwise, which is a round trip each. Where they are on disk it costs a look.
type innerAhead struct {
	readat.Reader // of it
	tree          *Tree
	plain         *cache.Plain
	from          *layerSpans
	data          int64 // where it begins in the plain bytes

	closed  chan struct{} // by stop
	running sync.WaitGroup
}

var _ readat.Prefetcher = (*innerAhead)(nil)

// Prefetch has the spans made that hold so many bytes at off.
func (a *innerAhead) Prefetch(off, n int64, ready func()) (end int64, started bool) {
	end = min(off+n, a.Size())
	if off >= end {
		return end, false
	}
	a.running.Add(1)
	started = a.tree.detach(innerAheadLimit, a.closed, func(ctx context.Context) {
		defer a.running.Done()
		defer ready()
		var b [1]byte
		fetched := int64(0) // up to here the blob's bytes were asked for
		for at, end := a.data+off, a.data+end; ctx.Err() == nil; {
			if at = a.plain.Reach(at, end); at >= end {
				return
			}
			// In one go: spans are as small as files are, and a request each would take
			// as many round trips.
			if fetched <= at {
				var err error
				if fetched, err = a.from.fetch(ctx, at, end-at); err != nil {
					return
				}
			}
			if _, err := a.plain.ReadAt(ctx, b[:], at); err != nil {
				return // whoever reads there is told why
			}
			_, at = a.from.Span(at)
		}
	})
	if !started {
		a.running.Done()
	}
	return end, started
}

// stop returns when nothing is made any more on behalf of the file.
func (a *innerAhead) stop() {
	close(a.closed)
	a.running.Wait()
}
