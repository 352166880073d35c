package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrowd: "A registry that is silent slows no other." Of the READs that wait,
// each registry has so many, and what is there is read nevertheless.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		ctx, end := context.WithCancelCause(t.Context())
		silent := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		at := func(host string) func() string { return func() string { return host } }
		var waiting sync.WaitGroup
		gone := errors.New("gone")
		for range maxWaiting {
			waiting.Go(func() {
				if err := c.join(ctx, at("silent"), silent); !errors.Is(err, gone) {
					t.Errorf("one of the first: %v", err)
				}
			})
		}
		time.Sleep(waitsAfter)
		synctest.Wait()
		begun := time.Now()
		err := c.join(ctx, at("silent"), silent)
		if took := time.Since(begun); toErrno(err) != syscall.EAGAIN || took != waitsAfter {
			t.Errorf("one more: %v after %s", err, took)
		}
		for name, host := range map[string]string{"what is there": "silent", "another registry": "other"} {
			if err := c.join(ctx, at(host), func(ctx context.Context) error { return ctx.Err() }); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		other := make(chan error)
		go func() { other <- c.join(ctx, at("other"), silent) }()
		time.Sleep(10 * waitsAfter)
		end(gone)
		if err := <-other; !errors.Is(err, gone) {
			t.Errorf("one that waits for another registry: %v", err)
		}
		waiting.Wait()
		if len(c.waiting) != 0 {
			t.Errorf("still waiting: %v", c.waiting)
		}
		if err := c.join(t.Context(), at("silent"), func(ctx context.Context) error {
			time.Sleep(2 * waitsAfter)
			return ctx.Err()
		}); err != nil {
			t.Errorf("when the others have gone: %v", err)
		}
	})
}
