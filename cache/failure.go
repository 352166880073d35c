package cache

import "time"

// A failure is why a download failed, and until when that answers for the next:
// a storm of reads is not to be a storm of requests.
type failure struct {
	err   error
	until time.Time
}

func (f failure) stands(now time.Time) bool { return f.err != nil && now.Before(f.until) }

// fail takes note that a download failed. It is remembered beyond the readers
// that there are: those who open the blob, fail and close it are a storm too.
// c.mu is held.
func (c *content) fail(err error) {
	now := c.store.opts.Now()
	c.failure = failure{err, now.Add(c.store.opts.ErrorTTL)}
	c.failures++
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, f := range s.failed {
		if !f.stands(now) {
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
