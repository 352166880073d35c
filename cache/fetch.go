package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// maxSegment is the longest range asked for at once.
	maxSegment = (8 << 20) / chunkSize
	// maxSegments is how many ranges of a blob are fetched at once.
	maxSegments = 4
	// maxQueue bounds what is to be fetched ahead; readers ask for at most 32 MiB
	// each.
	maxQueue = 64
	// maxIdle is how many bodies in a row may end without a chunk.
	maxIdle = 3
)

// A segment is a run of chunks that is being fetched.
type segment struct{ span }

// prefetch queues chunks from up to to.
func (c *content) prefetch(from, to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mapping == nil || c.poison != nil || len(c.queue) >= maxQueue {
		return
	}
	c.queue = append(c.queue, span{from, to})
	c.startQueued()
}

// forgetQueue drops what is to be fetched ahead: nobody is left to read it.
func (c *content) forgetQueue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = nil
}

// startQueued starts downloads of what is queued, as many as may run. c.mu is
// held.
func (c *content) startQueued() {
	for len(c.queue) > 0 && len(c.segments) < maxSegments && !c.sealing {
		run, ok := c.nextRun(c.queue[0])
		if !ok {
			c.queue = c.queue[1:]
			continue
		}
		c.queue[0].from = run.to
		if c.fetch(run) != nil {
			return
		}
	}
}

// start starts downloads of what is missing in a span that a reader waits for.
// c.mu is held.
func (c *content) start(s span) error {
	for {
		run, ok := c.nextRun(s)
		if !ok {
			return nil
		}
		if err := c.fetch(run); err != nil {
			return err
		}
		s.from = run.to
	}
}

// nextRun returns the first run of chunks in s that are neither there nor being
// fetched.
func (c *content) nextRun(s span) (span, bool) {
	from := s.from
	for from < s.to && (c.present.has(from) || c.inFlight(from)) {
		from++
	}
	to := from
	for to < s.to && to-from < maxSegment && !c.present.has(to) && !c.inFlight(to) {
		to++
	}
	return span{from, to}, to > from
}

// fetch starts the download of a run. It belongs to the store: it ends when its
// range is there, or with the store. c.mu is held.
func (c *content) fetch(run span) error {
	if !c.store.retain(c) {
		return errClosed
	}
	seg := &segment{run}
	c.segments = append(c.segments, seg)
	go func() {
		defer c.store.fetching.Done()
		c.store.counts.active.Add(1)
		err := c.download(c.store.life, seg)
		c.store.counts.active.Add(-1)
		c.finish(seg, err)
		if err := c.store.release(c, 0, 1); err != nil {
			c.store.opts.Logger.Warn("close a blob", "digest", c.key.digest.String(), "error", err)
		}
	}()
	return nil
}

// finish takes a segment off, tells those who wait, and goes on with the queue.
func (c *content) finish(seg *segment, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.segments {
		if s == seg {
			c.segments = append(c.segments[:i], c.segments[i+1:]...)
			break
		}
	}
	if err != nil {
		c.failure = err
		c.failures++
		c.retryAt = c.store.opts.Now().Add(c.store.opts.ErrorTTL)
		c.queue = nil
	} else {
		c.startQueued()
	}
	c.wake()
}

// download fetches a segment's missing chunks. A panic in a Fetcher is an error
// of the download.
func (c *content) download(ctx context.Context, seg *segment) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	select {
	case c.store.slots <- struct{}{}:
		defer func() { <-c.store.slots }()
	case <-ctx.Done():
		return errClosed
	}
	unlock, err := c.lease(ctx, seg.span)
	if err != nil {
		return err
	}
	defer unlock()
	for idle := 0; ; {
		run, ok := c.remaining(seg)
		if !ok {
			return nil
		}
		progress, err := c.stream(ctx, seg, run)
		if ctx.Err() != nil {
			return errClosed
		}
		if progress {
			idle = 0 // whatever ended it, go on where it ended
			continue
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if idle++; idle < maxIdle {
			continue
		}
		if err == nil {
			err = fmt.Errorf("%w: it ends before its %d bytes", ErrMismatch, c.key.size)
		}
		return err
	}
}

// remaining returns the first run of a segment that is still missing. Chunks
// that only wait for the digest to be checked are not.
func (c *content) remaining(seg *segment) (span, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealing || c.poison != nil || c.mapping == nil {
		return span{}, false
	}
	from := seg.from
	for from < seg.to && c.present.has(from) {
		from++
	}
	to := from
	for to < seg.to && !c.present.has(to) {
		to++
	}
	return span{from, to}, to > from
}

// stream asks for a run and stores what comes. progress says whether a chunk
// came that was missing. A body that ends early is io.ErrUnexpectedEOF, or no
// error where its sender said so.
func (c *content) stream(ctx context.Context, seg *segment, run span) (progress bool, err error) {
	off := int64(run.from) * chunkSize
	n := min(int64(run.to)*chunkSize, c.key.size) - off
	body, start, err := c.from.BlobRange(ctx, c.key.digest, off, n)
	if err != nil {
		return false, err
	}
	defer func() { _ = body.Close() }() // all that is needed was read, or its error is known
	if start != off {
		if start != 0 {
			return false, fmt.Errorf("%w: asked for bytes at %d, got those at %d", ErrMismatch, off, start)
		}
		// The whole blob comes, whatever was asked for. It is worth keeping, and one
		// of it is enough: others wait for this one.
		if !c.takeAll(seg) {
			return false, c.awaitOther(ctx, seg)
		}
		return c.storeBody(body, 0, c.key.size)
	}
	return c.storeBody(body, off, n)
}

// takeAll makes a segment the whole blob, unless another is.
func (c *content) takeAll(seg *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := span{0, len(c.sums)}
	for _, s := range c.segments {
		if s != seg && s.span == all {
			return false
		}
	}
	seg.span = all
	return true
}

// awaitOther waits until no other segment is the whole blob.
func (c *content) awaitOther(ctx context.Context, seg *segment) error {
	all := span{0, len(c.sums)}
	for {
		c.mu.Lock()
		busy := false
		for _, s := range c.segments {
			busy = busy || s != seg && s.span == all
		}
		changed := c.changed
		c.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errClosed
		}
	}
}

// storeBody reads n bytes that belong at off, which is where a chunk begins, and
// stores each chunk as soon as it is complete.
func (c *content) storeBody(body io.Reader, off, n int64) (progress bool, err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	b, have := *buffer, 0
	body = io.LimitReader(body, n)
	for {
		m, err := body.Read(b[have:])
		c.store.counts.fetched.Add(int64(m))
		have += m
		ends := off+int64(have) == c.key.size
		if full := have / chunkSize * chunkSize; full > 0 || ends && have > 0 {
			if ends {
				full = have
			}
			fresh, err := c.put(b[:full], off)
			progress = progress || fresh
			if err != nil {
				return progress, err
			}
			off += int64(full)
			have = copy(b, b[full:have])
		}
		if err == io.EOF {
			return progress, nil
		}
		if err != nil {
			return progress, err
		}
	}
}

// put writes chunks, which begin at off, and then their records, and shows them
// to the readers; the one that completes the blob only when the digest was
// checked. Chunks that are there already are left as they are.
func (c *content) put(b []byte, off int64) (fresh bool, err error) {
	first := int(off / chunkSize)
	n := chunksOf(int64(len(b)))
	c.mu.Lock()
	file, mapping := c.file, c.mapping
	wanted := make([]bool, n)
	for i := range n {
		wanted[i] = mapping != nil && !c.present.has(first+i)
		fresh = fresh || wanted[i]
	}
	c.mu.Unlock()
	if !fresh {
		return false, nil
	}
	crcs := make([]uint32, n)
	for i := 0; i < n; {
		j := i
		var records []byte
		for j < n && wanted[j] {
			chunk := b[j*chunkSize : min((j+1)*chunkSize, len(b))]
			crcs[j] = sum(chunk)
			records = appendRecord(records, first+j, crcs[j])
			j++
		}
		if j == i {
			i++
			continue
		}
		if _, err := file.WriteAt(b[i*chunkSize:min(j*chunkSize, len(b))], off+int64(i)*chunkSize); err != nil {
			return false, fmt.Errorf("cache directory %s: %w", c.store.dir, err)
		}
		if _, err := mapping.WriteAt(records, recordOffset(first+i)); err != nil {
			return false, fmt.Errorf("cache directory %s: %w", c.store.dir, err)
		}
		i = j
	}
	return true, c.show(file, first, wanted, crcs)
}

// show makes chunks that are on disk readable. The last one that is missing is
// not: it is on disk, but the blob has to be checked first.
func (c *content) show(file *os.File, first int, wanted []bool, crcs []uint32) error {
	c.mu.Lock()
	last := false
	for i, w := range wanted {
		if !w || c.file != file || c.mapping == nil || c.present.has(first+i) {
			continue
		}
		c.sums[first+i] = crcs[i]
		if c.missing == 1 {
			last = !c.sealing
			break
		}
		c.present.set(first + i)
		c.checked.set(first + i)
		c.missing--
	}
	if last {
		c.sealing = true
	} else {
		c.hashPrefix()
	}
	c.wake()
	c.mu.Unlock()
	if !last {
		return nil
	}
	err := c.seal()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealing = false
	c.wake()
	if errors.Is(err, errMoved) {
		return nil // a damaged chunk is a miss, and is fetched like any other
	}
	return err
}
