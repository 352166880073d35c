package cache

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

// keepAgain is for how long a blob that could not be kept is read without keeping,
// before the disk is tried again.
const keepAgain = 10 * time.Second

// unkept is what is known of a blob that is read without keeping it: the disk is
// full, fails or is not there. What is missing on disk is fetched in windows that
// stay in memory for a while, and may be fetched again. The SHA-256 of each one that
// came is remembered, so that the next copy of it is the same, and that of the blob
// is computed as they come: before the last bytes are handed out that nobody has had
// yet, all of it must have been hashed, which fetches again what went by unhashed.
type unkept struct {
	sums   map[int][sha256.Size]byte // guarded by content.mu; of windows
	proven bool                      // guarded by content.mu; all was hashed, and has the digest

	catching atomic.Bool // a goroutine hashes what is there

	mu     sync.Mutex   // held while hashing; a leaf
	digest hash.Hash    // guarded by mu
	hashed atomic.Int64 // bytes; changed under mu
}

// newUnkept goes on where the hashing of the partial form is. content.mu is held.
func newUnkept(f *form) *unkept {
	u := &unkept{sums: map[int][sha256.Size]byte{}, digest: sha256.New()}
	if f == nil || f.prefix == nil || f.file == nil {
		return u
	}
	// The goroutine that hashes the prefix writes to it without the mutex: only what
	// was saved of it can be taken.
	d := sha256.New()
	if into, ok := d.(encoding.BinaryUnmarshaler); ok && f.prefix.saved != nil && into.UnmarshalBinary(f.prefix.saved) == nil {
		u.digest = d
		u.hashed.Store(f.prefix.savedAt)
	}
	return u
}

// add hashes bytes that are at off, as far as they go on where the hash is.
func (u *unkept) add(b []byte, off int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if skip := u.hashed.Load() - off; skip >= 0 && skip < int64(len(b)) {
		u.digest.Write(b[skip:])
		u.hashed.Store(off + int64(len(b)))
	}
}

// isUnkept says whether what is missing is read without keeping it for now. c.mu is
// held.
func (c *content) isUnkept() bool {
	return c.unkept != nil && c.store.opts.Now().Before(c.keepFrom)
}

// unkeep goes on without keeping what is missing. c.mu is held.
func (c *content) unkeep() {
	if c.unkept == nil {
		c.unkept = newUnkept(c.form)
	}
	c.keepFrom = c.store.opts.Now().Add(keepAgain)
	c.wake()
}

// kept takes note that chunks came to be on disk. Where others were seen in their
// place, the two were never compared: the hash begins anew. c.mu is held.
func (c *content) kept(s span) {
	if c.unkept == nil {
		return
	}
	hashed := int64(s.from)*chunkSize < c.unkept.hashed.Load()
	for n := s.from / windowChunks; n*windowChunks < s.to; n++ {
		if _, seen := c.unkept.sums[n]; seen || hashed {
			c.unkept = newUnkept(c.form)
			return
		}
	}
}

// forsake gives up a form that the disk does not let go of or keep: what comes in
// its place is not kept.
func (c *content) forsake(old *form, cause error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	if old == nil || c.current() != old {
		return
	}
	c.store.tellUnkept(c.key.digest, cause)
	c.mu.Lock()
	c.unkeep()
	c.mu.Unlock()
	// Files that cannot be closed properly are of a disk that is no use.
	_ = c.replace(old, c.bareForm())
}

// bareForm is that of a blob of which there is nothing on disk, nor can be.
func (c *content) bareForm() *form {
	return &form{chunks: newTable(chunksOf(c.key.size)), prefix: newPrefix()}
}

// readUnkept fills p with bytes at off, as far as one window goes; with none where
// the blob came to be whole meanwhile.
func (c *content) readUnkept(ctx context.Context, p []byte, off int64) (int, error) {
	n := int(off / windowSize)
	for range maxHeals {
		w, err := c.window(ctx, n)
		if err != nil {
			return 0, err
		}
		ok, err := c.mayHand(n)
		m := 0
		if ok {
			m = copy(p, w.bytes[off-int64(n)*windowSize:])
		}
		c.store.windows.give(w, true)
		if ok {
			c.ahead(n)
			return m, nil
		}
		if err != nil {
			return 0, err
		}
		if c.verified() {
			return 0, nil
		}
		if err := c.prove(ctx); err != nil {
			return 0, err
		}
	}
	return 0, errOther // of what was proven, something else comes each time
}

// mayHand says whether a window may be handed out, and takes note that it was: not
// the last that nobody has had, before the digest was checked.
func (c *content) mayHand(n int) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poison != nil {
		return false, c.poison
	}
	if c.unkept != nil && c.unkept.proven {
		return true, nil
	}
	t := c.form.chunks
	s := c.windowSpan(n)
	var fresh []int
	for i := s.from; i < s.to; i++ {
		if !t.wasRead(i) {
			fresh = append(fresh, i)
		}
	}
	if t.missing-t.lost-len(fresh) <= 0 {
		return false, nil
	}
	for _, i := range fresh {
		t.lose(i)
	}
	return true, nil
}

// windowSpan is which chunks a window has.
func (c *content) windowSpan(n int) span {
	return span{n * windowChunks, min((n+1)*windowChunks, chunksOf(c.key.size))}
}

// window returns a window that is there, fetching it where it is not. The caller
// gives it back.
func (c *content) window(ctx context.Context, n int) (*window, error) {
	w, made, err := c.store.windows.take(ctx, windowKey{c, n}, true)
	if err != nil {
		return nil, err
	}
	if made {
		c.fetchWindow(w)
	}
	select {
	case <-w.done:
		err = w.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		c.store.windows.give(w, true)
		return nil, err
	}
	if err != nil {
		c.store.windows.give(w, false)
		return nil, err
	}
	return w, nil
}

// ahead has the windows after n fetched for one who reads in order, where there is
// room for them.
func (c *content) ahead(n int) {
	last := int((c.key.size - 1) / windowSize)
	if n == 0 || !c.store.windows.has(windowKey{c, n - 1}) {
		return // he does not, or has only begun
	}
	c.mu.Lock()
	// Of a source that knows no ranges one body is read, in order.
	may := !c.rangeless && !c.failure.stands(c.store.opts.Now())
	c.mu.Unlock()
	for next := n + 1; next <= min(n+windowsAhead, last) && may; next++ {
		k := windowKey{c, next}
		if c.store.windows.has(k) || c.onDiskAll(next) {
			continue
		}
		w, made, err := c.store.windows.take(c.store.life, k, false)
		if err != nil || w == nil {
			return
		}
		if made {
			c.fetchWindow(w)
		}
		c.store.windows.give(w, true)
	}
}

// onDiskAll says whether all chunks of a window are on disk.
func (c *content) onDiskAll(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.form == nil || c.form.file == nil {
		return false
	}
	_, missing := c.form.chunks.firstMissing(c.windowSpan(n))
	return !missing
}

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

// isDisk says whether an error is of the disk, so that reading goes on without it.
func isDisk(err error) bool { return errors.Is(err, errUnkept) }
