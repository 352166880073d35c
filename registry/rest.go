package registry

import (
	"sync"
	"time"
)

const (
	// restFor is how long an endpoint that failed is left alone: readers do not
	// stumble over it one by one, and it may only have been started anew.
	restFor = 5 * time.Second
	// maxRest is what that grows to while it fails each time it is asked again: one
	// that does not answer at all costs a reader the wait for it.
	maxRest = 80 * time.Second
)

// rest is for how long an endpoint that failed is left alone.
type rest struct {
	mu     sync.Mutex
	until  time.Time     // guarded by mu
	length time.Duration // guarded by mu; of the last one, 0 after a success
}

// begin lets it rest; a rest that goes on already stays as it is, since all who
// were asking when it failed come here. It reports whether one began.
func (r *rest) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.until) {
		return false
	}
	r.length = min(max(2*r.length, restFor), maxRest)
	r.until = now.Add(r.length)
	return true
}

// end is an answer: it is well again.
func (r *rest) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until, r.length = time.Time{}, 0
}

func (r *rest) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until)
}
