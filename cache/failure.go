package cache

import "time"

// A failure is why a download failed, and until when that answers for the next:
// a storm of reads is not to be a storm of requests.
type failure struct {
	err   error
	until time.Time
	// ahead is that of what was only wanted ahead: it keeps nobody from asking for
	// what he needs.
	ahead bool
}

// stands says whether it answers for whoever needs what failed.
func (f failure) stands(now time.Time) bool { return f.keeps(now) && !f.ahead }
func (f failure) keeps(now time.Time) bool  { return f.err != nil && now.Before(f.until) }

// failing says whether nothing has come since. Then nothing is asked for ahead,
// however long ago it was: one request finds out as well as several.
func (f failure) failing() bool { return f.err != nil && !f.until.IsZero() }

// fail takes note that a download failed. It is remembered beyond the readers
// that there are: those who open the blob, fail and close it are a storm too.
// c.mu is held.
func (c *content) fail(err error) {
	now := c.store.opts.Now()
	c.failure = failure{err: err, until: now.Add(c.store.opts.ErrorTTL)}
	c.failures++
	c.remember(now)
}

// failAhead does for what was only wanted ahead. c.mu is held.
func (c *content) failAhead(err error) {
	now := c.store.opts.Now()
	if c.failure.stands(now) {
		return // of somebody who needed it
	}
	c.failure = failure{err: err, until: now.Add(c.store.opts.ErrorTTL), ahead: true}
	c.remember(now)
}

// remember keeps the failure beyond the content. c.mu is held.
func (c *content) remember(now time.Time) {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, f := range s.failed {
		if !f.keeps(now) {
			delete(s.failed, k)
		}
	}
	s.failed[c.key] = c.failure
}

// succeed forgets a failure: something came. c.mu is held.
func (c *content) succeed() {
	if c.failure.until.IsZero() {
		return
	}
	c.failure.until = time.Time{} // the error is still for those who waited for it
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	delete(c.store.failed, c.key)
}
