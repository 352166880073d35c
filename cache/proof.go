package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
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

// hashed hashes a window that is in the caller's hands, where it is the next. Whoever
// reads in order does that with each before he gives it back, so that the hash is never
// behind him, however busy the machine is: what he has had need not come again for it.
func (c *content) hashed(w *window) {
	c.mu.Lock()
	u := c.unkept
	c.mu.Unlock()
	if u != nil {
		u.add(w.bytes, int64(w.key.n)*windowSize)
	}
}

// hashBefore hashes what is before window n and was not hashed yet, as far as it is
// in memory or on disk: what came before another that was still on its way. Nothing is
// fetched for that, or waited for. The caller holds no window.
func (c *content) hashBefore(ctx context.Context, n int) error {
	for {
		next, ok := c.nextHashed()
		if !ok || next >= n {
			return nil
		}
		if !c.hashNext(ctx, next) {
			return context.Cause(ctx)
		}
	}
}

// nextHashed is the window that the hash goes on with, and whether there is one, in
// memory or on disk.
func (c *content) nextHashed() (next int, ok bool) {
	c.mu.Lock()
	u := c.unkept
	c.mu.Unlock()
	if u == nil {
		return 0, false
	}
	at := u.hashed.Load()
	next = int(at / windowSize)
	return next, at < c.key.size && (c.store.windows.came(windowKey{c, next}) || c.onDiskAll(next))
}

// hashNext hashes a window that is there, and says whether it could. One that the disk
// does not give back is not: its readers find that out, and fetch it.
func (c *content) hashNext(ctx context.Context, n int) bool {
	if !c.store.windows.has(windowKey{c, n}) {
		return c.hashFromDisk(ctx, n)
	}
	w, err := c.window(ctx, n)
	if err != nil {
		return false
	}
	c.hashed(w)
	c.store.windows.give(w, true)
	next, _ := c.nextHashed()
	return next != n
}

// hashFromDisk hashes a window of which all is on disk, and says whether it could.
func (c *content) hashFromDisk(ctx context.Context, n int) bool {
	if c.store.beginCopy(ctx) != nil {
		return false
	}
	defer c.store.endCopy()
	c.mu.Lock()
	u := c.unkept
	c.mu.Unlock()
	if u == nil {
		return false
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	whole, digest := c.windowSpan(n), sha256.New()
	for s := (span{whole.from, whole.from}); s.to < whole.to; {
		s = span{s.to, min(s.to+bufferChunks, whole.to)}
		from, to := s.bytes(c.key.size)
		b := (*buffer)[:to-from]
		there, err := c.fromDisk(b, s)
		if err != nil || slices.Contains(there[:s.len()], false) {
			return false
		}
		u.add(b, from)
		digest.Write(b)
	}
	_, end := whole.bytes(c.key.size)
	if _, err := c.accept(n, [sha256.Size]byte(digest.Sum(nil)), end); err != nil {
		return false
	}
	next, _ := c.nextHashed()
	return next != n
}

// catchUp hashes what is there already and was not, beside the readers.
func (c *content) catchUp(u *unkept) {
	next, ok := c.nextHashed()
	for ok && u.catching.CompareAndSwap(false, true) {
		for ok && c.hashNext(c.store.life, next) {
			next, ok = c.nextHashed()
		}
		u.catching.Store(false)
		if ok {
			return // it cannot be had
		}
		next, ok = c.nextHashed() // which came just now, to one who left it to this one
	}
}

// errOther is a source that sends other bytes than before.
var errOther = fmt.Errorf("%w: its source sends other bytes each time", ErrMismatch)

// accept takes note of a window that came, by its SHA-256. One that differs from what came before in
// its place is an error, and where nothing is proven yet nobody knows which of the
// two was right. fetchedAt is where the first of its bytes is that is not from the
// disk.
func (c *content) accept(n int, got [sha256.Size]byte, fetchedAt int64) (*unkept, error) {
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
