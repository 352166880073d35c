package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// prove brings the hash to the end of the blob and checks the digest, once for all
// who wait for that. Like a download it belongs to the store.
func (c *content) prove(ctx context.Context) error {
	c.mu.Lock()
	p := c.proving
	if p == nil {
		if !c.store.retain(c) {
			c.mu.Unlock()
			return errClosed
		}
		p = &proof{done: make(chan struct{})}
		c.proving = p
		go c.runProof(p)
	}
	c.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A proof is the check of a blob that is not kept.
type proof struct {
	done chan struct{}
	err  error // set before done is closed
}

func (c *content) runProof(p *proof) {
	defer c.store.fetching.Done()
	p.err = guarded(func() error { return c.hashUnkept(c.store.life) })
	c.mu.Lock()
	c.proving = nil
	c.mu.Unlock()
	close(p.done)
	_ = c.store.release(c, 0, 1) // closes files of which every write was checked
}

// hashUnkept hashes what is not hashed yet, and checks the digest.
func (c *content) hashUnkept(ctx context.Context) error {
	for {
		c.mu.Lock()
		u, f, poison := c.unkept, c.form, c.poison
		c.mu.Unlock()
		if poison != nil {
			return poison
		}
		if f == nil || f.whole || u == nil {
			return nil // there is something better by now
		}
		at := u.hashed.Load()
		if at < c.key.size {
			w, err := c.window(ctx, int(at/windowSize))
			if err != nil {
				if ctx.Err() != nil {
					return errClosed
				}
				return err
			}
			u.add(w.bytes, at/windowSize*windowSize)
			c.store.windows.give(w, true)
			c.ahead(int(at / windowSize))
			continue
		}
		u.mu.Lock()
		got := hex.EncodeToString(u.digest.Sum(nil))
		u.mu.Unlock()
		c.mu.Lock()
		current := c.unkept == u
		if current && got == c.key.digest.Hex {
			u.proven = true
			c.wake()
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		if current {
			return c.condemn(f, got)
		}
	}
}

// catchUp hashes what is there already and was not, beside the readers.
func (c *content) catchUp(u *unkept) {
	if !u.catching.CompareAndSwap(false, true) {
		return
	}
	defer u.catching.Store(false)
	for {
		at := u.hashed.Load()
		n := int(at / windowSize)
		if at >= c.key.size || c.store.life.Err() != nil {
			return
		}
		inMemory := c.store.windows.has(windowKey{c, n})
		if !inMemory && !c.onDiskAll(n) {
			return
		}
		w, err := c.window(c.store.life, n)
		if err != nil {
			return
		}
		u.add(w.bytes, int64(n)*windowSize)
		c.store.windows.give(w, inMemory)
		if u.hashed.Load() == at {
			return
		}
	}
}

// errOther is a source that sends other bytes than before.
var errOther = fmt.Errorf("%w: its source sends other bytes each time", ErrMismatch)

// accept takes note of a window that came. One that differs from what came before in
// its place is an error, and where nothing is proven yet nobody knows which of the
// two was right. fetchedAt is where the first of its bytes is that is not from the
// disk.
func (c *content) accept(n int, b []byte, fetchedAt int64) (*unkept, error) {
	got := sha256.Sum256(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unkept == nil {
		c.unkept = newUnkept(c.form)
	}
	u := c.unkept
	before, seen := u.sums[n]
	if seen && before != got {
		if !u.proven {
			c.store.counts.mismatches.Add(1)
			c.poison = errOther
			c.store.disown(c)
			c.wake()
		}
		return u, errOther
	}
	if !seen && u.hashed.Load() > fetchedAt {
		// What was hashed was on disk and is lost: this may be another.
		u = newUnkept(nil)
		c.unkept = u
	}
	u.sums[n] = got
	return u, nil
}
