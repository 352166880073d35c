package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// fetchWindow fills a window that was made, beside the caller, whose user count it
// adds its own to. It belongs to the store, as a download does.
func (c *content) fetchWindow(w *window) {
	ws := &c.store.windows
	ws.mu.Lock()
	w.users++
	ws.mu.Unlock()
	if !c.store.retain(c) {
		w.err = errClosed
		close(w.done)
		ws.give(w, false)
		return
	}
	go func() {
		defer c.store.fetching.Done()
		c.store.counts.active.Add(1)
		var u *unkept
		err := guarded(func() (err error) {
			u, err = c.fillWindow(c.store.life, w)
			return err
		})
		c.store.counts.active.Add(-1)
		c.mu.Lock()
		switch {
		case err == nil:
			c.succeed()
		case !errors.Is(err, errClosed):
			c.fail(err)
		}
		c.mu.Unlock()
		w.err = err
		if u != nil && err == nil {
			u.add(w.bytes, int64(w.key.n)*windowSize)
		}
		close(w.done)
		ws.give(w, err == nil)
		if u != nil && err == nil {
			c.catchUp(u)
		}
		_ = c.store.release(c, 0, 1) // closes files of which every write was checked
	}()
}

// fillWindow puts a window together from what is on disk and what is fetched.
func (c *content) fillWindow(ctx context.Context, w *window) (*unkept, error) {
	s := c.windowSpan(w.key.n)
	from, to := s.bytes(c.key.size)
	b := make([]byte, to-from)
	there, err := c.fromDisk(b, s)
	if err != nil {
		return nil, err
	}
	fetchedAt := to
	for i := s.from; i < s.to; {
		if there[i-s.from] {
			i++
			continue
		}
		run := span{i, i}
		for run.to < s.to && !there[run.to-s.from] {
			run.to++
		}
		start, end := run.bytes(c.key.size)
		if err := c.fetchInto(ctx, b[start-from:end-from], start); err != nil {
			return nil, err
		}
		fetchedAt = min(fetchedAt, start)
		i = run.to
	}
	u, err := c.accept(w.key.n, sha256.Sum256(b), fetchedAt)
	if err != nil {
		return nil, err
	}
	w.bytes = b
	return u, nil
}

// fromDisk reads the chunks of a span that are on disk, and says which are. One that
// is damaged, or cannot be read any more, is not.
func (c *content) fromDisk(b []byte, s span) (there [windowChunks]bool, err error) {
	var sums [windowChunks]uint32
	c.mu.Lock()
	f := c.form
	if c.poison != nil || f == nil {
		err = c.poison
		c.mu.Unlock()
		if err == nil {
			err = errClosed
		}
		return there, err
	}
	if at := c.failure; at.stands(c.store.opts.Now()) {
		c.mu.Unlock()
		return there, at.err
	}
	if f.file != nil {
		for i := range s.len() {
			// The chunk that waits for the digest is on disk, too.
			there[i] = f.chunks.has(s.from+i) || f.chunks.held == s.from+i
			sums[i] = 0
			if there[i] {
				sums[i] = f.chunks.sum(s.from + i)
			}
		}
	}
	c.mu.Unlock()
	for i := range s.len() {
		if !there[i] {
			continue
		}
		n := chunkLen(s.from+i, c.key.size)
		chunk := b[i*chunkSize:][:n]
		if m, _ := f.file.ReadAt(chunk, int64(s.from+i)*chunkSize); m < n || sum(chunk) != sums[i] {
			there[i] = false // fetched it is checked against what was seen before
		}
	}
	return there, nil
}

// fetchInto fills b with bytes at off from the source. A body that ends early is
// taken up where it ended.
func (c *content) fetchInto(ctx context.Context, b []byte, off int64) error {
	for idle, n := 0, 0; n < len(b); {
		m, err := c.fetchSome(ctx, b[n:], off+int64(n))
		switch {
		case ctx.Err() != nil:
			return errClosed
		case m >= chunkSize || m > 0 && n+m == len(b):
			n, idle = n+m, 0
			continue
		case m == 0 && err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			return err
		}
		n += m
		if idle++; idle >= maxIdle {
			if err == nil {
				err = fmt.Errorf("%w: it ends before its %d bytes", ErrMismatch, c.key.size)
			}
			return err
		}
	}
	return nil
}

// fetchSome asks once, and returns how much came.
func (c *content) fetchSome(ctx context.Context, b []byte, off int64) (int, error) {
	feeding, err := c.mayAsk(ctx)
	if err != nil {
		return 0, err
	}
	answered := func() {
		if feeding {
			feeding = false
			<-c.feeding
		}
	}
	defer answered() // a panic of the source included
	c.mu.Lock()
	rangeless := c.rangeless
	c.mu.Unlock()
	if rangeless {
		return c.fetchFed(ctx, b, off)
	}
	body, start, err := c.from.BlobRange(c.store.life, c.key.digest, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	if start != off && start != 0 {
		_ = body.Close() // it is not read
		return 0, fmt.Errorf("%w: asked for bytes at %d, got those at %d", ErrMismatch, off, start)
	}
	whole := start != off || isWhole(body)
	c.store.note(c.key.repository, body, whole)
	c.mu.Lock()
	if whole {
		c.ranges, c.rangeless = false, true
	} else if c.prober == nil && !c.rangeless {
		c.ranges = true
	}
	c.mu.Unlock()
	switch {
	case whole && feeding && c.feed == nil:
		c.feed = &feed{body: body}
		return c.readFeed(b, off)
	case whole:
		_ = body.Close() // another is read
		answered()
		return c.fetchFed(ctx, b, off)
	}
	answered()
	defer func() { _ = body.Close() }() // all that is needed was read
	n, err := io.ReadFull(body, b)
	c.store.counts.fetched.Add(int64(n))
	c.store.counts.unkept.Add(int64(n))
	if errors.Is(err, io.EOF) {
		err = nil // its sender said so
	}
	return n, err
}

// mayAsk waits, as long as nothing is known of whether the source knows ranges, until
// whoever asked before has been answered. The first has the feed until then: what it
// is answered with may be one.
func (c *content) mayAsk(ctx context.Context) (feeding bool, err error) {
	known := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ranges || c.rangeless || c.store.expectsRanges(c.key.repository)
	}
	if known() {
		return false, nil
	}
	select {
	case c.feeding <- struct{}{}:
	case <-time.After(maxProbe):
		return false, nil
	case <-ctx.Done():
		return false, errClosed
	}
	c.mu.Lock()
	failure := c.failure
	c.mu.Unlock()
	switch {
	case known():
		<-c.feeding
		return false, nil
	case failure.stands(c.store.opts.Now()):
		<-c.feeding
		return false, failure.err
	}
	return true, nil
}
