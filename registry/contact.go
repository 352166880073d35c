package registry

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// contactLimit ends a first contact that hangs; it belongs to no caller.
	contactLimit = 60 * time.Second
	// contactRemembered is how long a failed one answers for the next.
	contactRemembered = 2 * time.Second
)

// contact is something that is learned once, by whoever asks first, for all.
// Who has to wait can leave; a failure is remembered for a moment only.
type contact[T comparable] struct {
	mu      sync.Mutex
	current *attempt[T] // guarded by mu
}

type attempt[T comparable] struct {
	done  chan struct{}
	value T     // set before done is closed
	err   error // the same
	until time.Time
}

func (c *contact[T]) get(ctx context.Context, learn func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	a := c.current
	if a == nil || a.over() {
		a = &attempt[T]{done: make(chan struct{})}
		c.current = a
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), contactLimit)
		go func() {
			defer cancel()
			defer close(a.done)
			defer func() {
				// go-containerregistry parses what strangers send.
				if p := recover(); p != nil {
					a.err = fmt.Errorf("panic: %v", p)
				}
				a.until = time.Now().Add(contactRemembered)
			}()
			a.value, a.err = learn(detached)
		}()
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// forget makes the next caller learn anew, unless what is known is no longer
// value: somebody did so already.
func (c *contact[T]) forget(value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return
	}
	select {
	case <-c.current.done:
		if c.current.value == value {
			c.current = nil
		}
	default: // being learned just now
	}
}

// over says whether the attempt failed and may be made again.
func (a *attempt[T]) over() bool {
	select {
	case <-a.done:
		return a.err != nil && !time.Now().Before(a.until)
	default:
		return false
	}
}
