package cache

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxHeals is how often damage is answered by fetching again before the disk
	// is to blame. Several readers can find the same damage one after another, and
	// each such round is one of these.
	maxHeals = 8
	// settled is how long a file has to be left alone before its change time tells
	// of every later change: the coarsest clock of a file system that we may be on
	// ticks every two seconds, and two changes within a tick look like one.
	settled = 2 * time.Second
	// maxDrops is how often a chunk of a partial file is dropped and fetched again.
	maxDrops = 3
)

// buffers keeps pieces of bufferChunks chunks for reuse.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferChunks*chunkSize); return &b }}

// maxCopies is how many readers copy at once, each with one of the buffers above:
// 16 MiB of them. More would wait for the same disk; those that wait for bytes to
// come are not among them.
const maxCopies = 64

// beginCopy waits for its turn to copy, until ctx ends; endCopy gives it on.
func (s *Store) beginCopy(ctx context.Context) error {
	select {
	case s.copies <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) endCopy() { <-s.copies }

// A view is what a reader knows of at most bufferChunks chunks that are there:
// taken at once under the mutex, used without it.
type view struct {
	form *form
	span span
	sums [bufferChunks]uint32
	// checked says that all match their sums, as long as the file's change time
	// is ctime.
	checked bool
	ctime   int64
}

// newView returns a view of chunks that are there. content.mu is held.
func newView(f *form, s span) view {
	v := view{form: f, span: s}
	if f.whole && f.chunks.checked(s) {
		v.checked, v.ctime = true, f.ctime
		return v
	}
	for i := range s.len() {
		v.sums[i] = f.chunks.sum(s.from + i)
	}
	return v
}

// readAt fills p, which lies within the blob.
func (c *content) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	n := 0
	defer func() { c.store.counts.read.Add(int64(n)) }()
	for heals := 0; n < len(p); {
		at := off + int64(n)
		first, last := int(at/chunkSize), chunksOf(off+int64(len(p)))
		s := span{first, min(last, first+bufferChunks)}
		_, end := s.bytes(c.key.size)
		m := 0
		v, err := c.need(ctx, s, last)
		switch {
		case err == nil:
			m, err = c.copyOut(ctx, &v, p[n:min(int64(len(p)), end-off)], at)
			if heals == maxHeals && m == 0 && err == nil {
				err = c.store.onDisk(errUnsound)
			}
			if isDisk(err) {
				c.forsake(v.form, err)
				err = nil
			}
		case isDisk(err):
			m, err = c.readUnkept(ctx, p[n:], at)
		}
		if err != nil {
			return n, err
		}
		if n += m; m > 0 {
			heals = 0
		} else if heals++; heals > 2*maxHeals {
			return n, c.store.onDisk(errUnsound)
		}
	}
	return n, nil
}

// copyOut copies the bytes at off, which are in the chunks of a view, into p. It
// checks them first, on the very bytes that it hands out; only a chunk of a
// whole file that was checked before is spared that, while the file's change
// time stands. Where something is damaged it makes it a miss and returns 0: the
// caller asks for it again.
func (c *content) copyOut(ctx context.Context, v *view, p []byte, off int64) (int, error) {
	file := v.form.file
	if v.checked {
		n, err := file.ReadAt(p, off)
		// The time is looked at after the bytes were read: what changed them before
		// that has changed it.
		if n == len(p) && err == nil && v.ctime != 0 && changeTime(file) == v.ctime {
			return n, nil
		}
		c.uncheck(v)
		return 0, nil
	}
	if err := c.store.beginCopy(ctx); err != nil {
		return 0, err
	}
	defer c.store.endCopy()
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	ctime := int64(0)
	if v.form.whole {
		ctime = changeTime(file)
	}
	start, end := v.span.bytes(c.key.size)
	b := (*buffer)[:end-start]
	n, err := file.ReadAt(b, start)
	if damaged := damagedChunks(b, n, v.span, c.key.size, v.sums[:]); len(damaged) > 0 {
		return 0, c.heal(v.form, damaged, err)
	}
	if v.form.whole {
		c.check(v, ctime)
	}
	return copy(p, b[off-start:]), nil
}

// damagedChunks returns which chunks of a span do not match their sums. The
// first n bytes of b could be read.
func damagedChunks(b []byte, n int, s span, size int64, sums []uint32) []int {
	var damaged []int
	for k := range s.len() {
		at := k * chunkSize
		end := at + chunkLen(s.from+k, size)
		if end > n || sum(b[at:end]) != sums[k] {
			damaged = append(damaged, s.from+k)
		}
	}
	return damaged
}

// check takes note that the chunks of a view matched their sums when the file's
// change time was ctime.
func (c *content) check(v *view, ctime int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := v.form
	if f.ctime != ctime {
		f.ctime = ctime
		f.chunks.uncheck()
	}
	if c.settled(ctime) {
		f.chunks.check(v.span)
	}
}

// settled says whether a file that was changed at ctime has been left alone for so
// long that a change would show.
func (c *content) settled(ctime int64) bool {
	return c.store.opts.Now().UnixNano()-ctime > int64(settled)
}

// uncheck makes those who come next check the chunks of a file that changed.
func (c *content) uncheck(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.form.ctime == v.ctime {
		v.form.chunks.uncheck()
	}
}

// heal makes damaged chunks a miss; in a whole file all are, since others may
// have it open and nothing is written to it. What cannot be read, for whatever
// cause, is damage. The error is errUnkept, and nothing is dropped, where the disk is
// to blame: a download and who hashes what it brings would go on for ever.
func (c *content) heal(f *form, damaged []int, cause error) error {
	if c.current() != f {
		return nil // it was closed under the reader, or dropped by another
	}
	if !f.whole && c.damagedAgain(f, damaged) {
		return c.store.onDisk(errUnsound)
	}
	c.store.opts.Logger.Warn("damaged chunks in the cache; fetching them again",
		"digest", c.key.digest.String(), "first", damaged[0], "chunks", len(damaged), "error", cause)
	if f.whole {
		return c.demote(f)
	}
	if err := c.drop(f, damaged); err != nil && c.current() == f {
		return c.store.onDisk(fmt.Errorf("drop damaged chunks: %w", err))
	}
	return nil
}

// damagedAgain counts the damage of chunks that are there, and says whether one of them
// was dropped for that as often as it may be.
func (c *content) damagedAgain(f *form, damaged []int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range damaged {
		if c.drops[i] >= maxDrops {
			return true
		}
	}
	if c.drops == nil {
		c.drops = map[int]int{}
	}
	for _, i := range damaged {
		if f.chunks.has(i) || f.chunks.held == i { // another has not found it first
			c.drops[i]++
		}
	}
	return false
}
