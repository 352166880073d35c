package cache

import "slices"

const (
	// maxSegment is the longest range asked for at once.
	maxSegment = (8 << 20) / chunkSize
	// maxSegments is how many ranges of a blob are fetched ahead at once. Those
	// that a reader waits for are not counted: it is for the source to say how
	// many of its connections are used at a time, and for one source not to wait
	// for another.
	maxSegments = 4
	// maxQueue bounds what is to be fetched ahead. What finds no room in it is
	// fetched when it is read.
	maxQueue = 64
)

// A segment is a run of chunks that is being fetched.
type segment struct {
	span      // guarded by content.mu, but for the download whose segment it is
	all  bool // the same; the whole blob, since its source knows no ranges
}

// prefetch queues chunks.
func (c *content) prefetch(s span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.form == nil || c.form.whole || c.failure.stands(c.store.opts.Now()) {
		return
	}
	switch n := len(c.queue); {
	case n > 0 && c.queue[n-1].to == s.from:
		c.queue[n-1].to = s.to
	case n < maxQueue:
		c.queue = append(c.queue, s)
	}
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
	for len(c.queue) > 0 && len(c.segments) < maxSegments && !c.sealing && c.poison == nil {
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
// fetched. c.mu is held.
func (c *content) nextRun(s span) (span, bool) {
	wanted := func(i int) bool { return !c.form.chunks.has(i) && !c.inFlight(i) }
	from := s.from
	for from < s.to && !wanted(from) {
		from++
	}
	to := from
	for to < s.to && to-from < maxSegment && wanted(to) {
		to++
	}
	return span{from, to}, to > from
}

// inFlight says whether chunk i is being fetched. c.mu is held.
func (c *content) inFlight(i int) bool {
	for _, s := range c.segments {
		if s.has(i) {
			return true
		}
	}
	return false
}

// fetch starts the download of a run. It belongs to the store: it ends when its
// range is there, or with the store. c.mu is held.
func (c *content) fetch(run span) error {
	if !c.store.retain(c) {
		return errClosed
	}
	seg := &segment{span: run}
	if c.rangeless {
		seg.span, seg.all = span{0, c.form.chunks.n}, true
	}
	c.segments = append(c.segments, seg)
	go func() {
		defer c.store.fetching.Done()
		c.store.counts.active.Add(1)
		err := (&download{content: c, seg: seg}).run(c.store.life)
		c.store.counts.active.Add(-1)
		c.finish(seg, err)
		if err := c.store.release(c, 0, 1); err != nil {
			c.store.opts.Logger.Warn("close a blob", "digest", c.key.digest.String(), "error", err)
		}
	}()
	return nil
}

// takeAll makes a segment the whole blob, unless another is: one stream of a
// source that knows no ranges is enough, and whoever waits for a chunk waits for
// that.
func (c *content) takeAll(seg *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rangeless = true
	for _, s := range c.segments {
		if s.all {
			return false
		}
	}
	seg.span, seg.all = span{0, c.form.chunks.n}, true
	return true
}

// finish takes a segment off, tells those who wait, and goes on with the queue.
func (c *content) finish(seg *segment, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments = slices.DeleteFunc(c.segments, func(s *segment) bool { return s == seg })
	if err != nil {
		c.fail(err)
	} else {
		c.startQueued()
	}
	c.wake()
}
