package cache

import (
	"context"
	"fmt"
	"io"
)

// maxMaking is how many spans of a layer are made at once: each takes a processor, and
// some megabytes of memory.
const maxMaking = 4

// A madeSpan is a span that is being made, once for all who wait for it. It belongs to
// the store, not to the reader who came for it first.
type madeSpan struct {
	by         *Plain
	begin, end int64
	at         int64 // what the first reader came for
	done       chan struct{}

	// Set before done is closed.
	err error
	mem *spanBytes // where the disk does not take it
}

// An othersError is why a span was not made for another reader, who has a source of
// his own.
type othersError struct{ err error }

func (e *othersError) Error() string { return e.err.Error() }
func (e *othersError) Unwrap() error { return e.err }

// await waits until the span that has the byte at off was made, or ctx ends. Where it
// is not on disk then, it copies what p wants of it.
func (c *plainContent) await(ctx context.Context, p *Plain, b []byte, off int64) (int, error) {
	if kept := c.store.spans.get(c, off); kept != nil {
		return copy(b, kept.bytes[off-kept.off:]), nil
	}
	begin, end := p.from.Span(off)
	if begin > off || end <= off || end > c.key.size {
		return 0, fmt.Errorf("no span has the byte at %d", off)
	}
	m, err := c.make(p, begin, end, off)
	if err != nil {
		return 0, err
	}
	select {
	case <-m.done:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	switch {
	case m.err != nil && m.by != p:
		return 0, &othersError{m.err}
	case m.err != nil:
		return 0, m.err
	case m.mem.has(off):
		return copy(b, m.mem.bytes[off-m.mem.off:]), nil
	}
	return 0, nil
}

// make begins to make a span, if nobody is at it.
func (c *plainContent) make(p *Plain, begin, end, at int64) (*madeSpan, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.making[begin]; ok {
		return m, nil
	}
	m := &madeSpan{by: p, begin: begin, end: end, at: at, done: make(chan struct{})}
	if !c.store.retainPlain(p) {
		return nil, errClosed
	}
	c.making[begin] = m
	go c.run(m)
	return m, nil
}

// retainPlain adds a span that is being made to the users of a reader.
func (s *Store) retainPlain(p *Plain) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	p.users++
	p.content.users++
	s.fetching.Add(1)
	return true
}

func (c *plainContent) run(m *madeSpan) {
	defer c.store.fetching.Done()
	c.slots <- struct{}{} // those who have one end with the store, if not before
	m.err = guarded(func() error { return c.makeSpan(m) })
	<-c.slots
	c.mu.Lock()
	delete(c.making, m.begin)
	c.mu.Unlock()
	close(m.done)
	_ = c.store.releasePlain(m.by) // what its source says when it is closed is nobody's
}

// makeSpan makes a span on disk or, where that does not take it, in memory.
func (c *plainContent) makeSpan(m *madeSpan) error {
	ctx := c.store.life
	if ctx.Err() != nil {
		return errClosed
	}
	if c.mayKeep() {
		err := c.keepSpan(ctx, m)
		if !isDisk(err) {
			return err
		}
		c.unkeep(err)
	}
	w := &spanWriter{at: m.begin, mem: &spanBytes{content: c, off: m.begin}, end: m.end}
	if m.end-m.begin > maxSpanBytes {
		w.mem.off, w.end = m.at, min(m.end, m.at+maxSpanBytes)
	}
	if err := m.by.from.CopySpan(ctx, w, m.at); err != nil {
		return err
	}
	if got := w.mem.off + int64(len(w.mem.bytes)); w.at != m.end || got != w.end {
		return fmt.Errorf("the span at %d ends at %d, not %d: %w", m.begin, w.at, m.end, io.ErrUnexpectedEOF)
	}
	c.store.counts.unkept.Add(int64(len(w.mem.bytes)))
	m.mem = w.mem
	c.store.spans.put(w.mem)
	return nil
}

// keepSpan makes a span on disk: its bytes, and when they are right, the records of them.
func (c *plainContent) keepSpan(ctx context.Context, m *madeSpan) error {
	f, err := c.writable()
	if err != nil {
		return c.store.onDisk(err)
	}
	has := func(from, to int64) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return f.pieces.reach(from, to) == to
	}
	if has(m.begin, m.end) {
		return nil // of another process
	}
	info, err := f.data.Stat()
	if err != nil {
		return c.store.onDisk(err)
	}
	w := &plainWriter{store: c.store, file: f.data, off: m.begin, has: has, left: f.most - bytesOnDisk(info)}
	if m.end-m.begin > w.left {
		return c.store.onDisk(errOversize) // nothing of a span is right before its end
	}
	w.buf = make([]byte, 0, min(m.end-m.begin, plainBuffer)) // of a file of a few bytes, perhaps
	if err = m.by.from.CopySpan(ctx, w, m.at); err == nil {
		err = w.flush()
	}
	if err != nil {
		return err
	}
	if w.off != m.end {
		return fmt.Errorf("the span at %d ends at %d, not %d: %w", m.begin, w.off, m.end, io.ErrUnexpectedEOF)
	}
	if len(w.records) == 0 {
		return nil
	}
	if err = c.store.admit(int64(len(w.records))); err == nil {
		err = c.store.withRoom(func() error {
			_, err := f.mapping.Write(w.records)
			return err
		})
	}
	if err != nil {
		return c.store.onDisk(fmt.Errorf("write the map of a layer: %w", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := w.records; len(b) > 0; b = b[pieceRecord:] {
		off, n, crc, _ := parsePiece(b)
		f.pieces.add(off, n, crc, c.key.size)
	}
	return nil
}

// mayKeep says whether what is made goes to the disk.
func (c *plainContent) mayKeep() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keeps && !c.store.opts.Now().Before(c.keepFrom)
}

// unkeep goes on without the disk for a while, for that cause.
func (c *plainContent) unkeep(cause error) {
	c.store.tellUnkept(c.key.id.Blob, cause)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepFrom = c.store.opts.Now().Add(triedAgain(cause))
}
