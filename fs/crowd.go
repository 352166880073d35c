package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxWaiting is how many READs of one registry may wait at once: half of what the
	// kernel has under way, so that a registry that does not answer leaves the other
	// half to the others.
	maxWaiting = maxBackground / 2
	// waitsAfter is how long a READ may take before it counts as one that waits. Most
	// are answered from the cache, whatever their registry does.
	waitsAfter = time.Second
)

// errCrowded ends a READ that would be one too many of those that wait.
var errCrowded = errors.New("too many reads wait for it already; try again when it answers")

// A crowd counts the READs that wait, by registry. It is safe for concurrent use.
type crowd struct {
	mu      sync.Mutex
	waiting map[string]int // guarded by mu
}

func newCrowd() *crowd { return &crowd{waiting: map[string]int{}} }

// join runs a READ. Where it waits and too many of its registry wait already, its
// context ends with errCrowded. host is only called for one that waits.
func (c *crowd) join(ctx context.Context, host func() string, read func(context.Context) error) error {
	own, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	var name string // guarded by c.mu, as what follows
	counted, over := false, false
	timer := time.AfterFunc(waitsAfter, func() {
		at := host()
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case over:
		case c.waiting[at] >= maxWaiting:
			leave(fmt.Errorf("%s: %w", at, errCrowded))
		default:
			name, counted = at, true
			c.waiting[at]++
		}
	})
	defer func() {
		if timer.Stop() {
			return // it never waited
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		over = true
		if !counted {
			return
		}
		if c.waiting[name]--; c.waiting[name] == 0 {
			delete(c.waiting, name)
		}
	}()
	return read(own)
}
