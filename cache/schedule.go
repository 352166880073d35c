package cache

import "slices"

const (
	// MaxRange is the longest range asked for at once, in bytes.
	MaxRange = 32 << 20
	// maxRun is the same in chunks.
	maxRun = MaxRange / chunkSize
)

// prefetch starts the download of the first run of a span that is missing, and
// returns the run.
func (c *content) prefetch(s span, ready func()) (run span, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.form == nil || c.form.whole || c.isUnkept() || c.sealing || c.poison != nil || c.failure.failing() {
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
	for to < s.to && to-from < maxRun && wanted(to) {
		to++
	}
	return span{from, to}, to > from
}

// inFlight says whether chunk i is being fetched. c.mu is held.
func (c *content) inFlight(i int) bool {
	for _, d := range c.downloads {
		if d.span.has(i) {
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
	d := &download{content: c, span: run, ready: ready}
	if c.rangeless {
		d.span, d.all = span{0, c.form.chunks.n}, true
	} else if !c.ranges && c.prober == nil && !c.store.expectsRanges(c.key.repository) {
		c.prober = d // the one that is wanted first
	}
	c.downloads = append(c.downloads, d)
	go func() {
		defer c.store.fetching.Done()
		c.store.counts.active.Add(1)
		err := d.run(c.store.life)
		c.store.counts.active.Add(-1)
		c.finish(d, err)
		d.signal()
		if err := c.store.release(c, 0, 1); err != nil {
			c.store.opts.Logger.Warn("close a blob", "digest", c.key.digest.String(), "error", err)
		}
	}()
	return nil
}

// takeAll makes a download one of the whole blob, unless another is: one stream of a
// source that knows no ranges is enough, and whoever waits for a chunk waits for
// that.
func (d *download) takeAll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.extend()
}

// finish takes a download off and tells those who wait.
func (c *content) finish(d *download, err error) {
	if isDisk(err) {
		c.store.tellUnkept(c.key.digest, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prober == d {
		c.prober = nil
	}
	c.downloads = slices.DeleteFunc(c.downloads, func(other *download) bool { return other == d })
	// What was only wanted ahead fails for nobody: who needs it asks for it again,
	// and that decides.
	switch {
	case err == nil:
	case isDisk(err):
		c.unkeep(err)
	case d.ready == nil:
		c.fail(err)
	default:
		c.failAhead(err)
	}
	c.wake()
}
