package cache

import (
	"slices"
	"sync"
)

const (
	// MaxRange is the longest range asked for at once, in bytes.
	MaxRange = 32 << 20
	// maxSegment is the same in chunks.
	maxSegment = MaxRange / chunkSize
)

// A segment is a run of chunks that is being fetched.
type segment struct {
	span      // guarded by content.mu, but for the download whose segment it is
	all  bool // the same; the whole blob, since its source knows no ranges

	// ready tells who asked ahead that it is time for the next; nil where nobody
	// did.
	ready func()
	once  sync.Once
}

// signal calls ready, the first time. No mutex is held.
func (s *segment) signal() {
	if s.ready != nil {
		s.once.Do(s.ready)
	}
}

// prefetch starts the download of the first run of a span that is missing, and
// returns the run.
func (c *content) prefetch(s span, ready func()) (run span, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.form == nil || c.form.whole || c.sealing || c.poison != nil || c.failure.stands(c.store.opts.Now()) {
		return span{}, false
	}
	run, ok := c.nextRun(s)
	if !ok || c.fetch(run, ready) != nil {
		return span{}, false
	}
	return run, true
}

// start starts downloads of what is missing in a span that a reader waits for.
// c.mu is held.
func (c *content) start(s span) error {
	for {
		run, ok := c.nextRun(s)
		if !ok {
			return nil
		}
		if err := c.fetch(run, nil); err != nil {
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
// range is there, or with the store. ready is as in [Reader.Prefetch], or nil.
// c.mu is held.
func (c *content) fetch(run span, ready func()) error {
	if !c.store.retain(c) {
		return errClosed
	}
	seg := &segment{span: run, ready: ready}
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
		seg.signal()
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

// finish takes a segment off and tells those who wait.
func (c *content) finish(seg *segment, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments = slices.DeleteFunc(c.segments, func(s *segment) bool { return s == seg })
	// What was only wanted ahead fails for nobody: who needs it asks for it again,
	// and that decides.
	if err != nil && seg.ready == nil {
		c.fail(err)
	}
	c.wake()
}
