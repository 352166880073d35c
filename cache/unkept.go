package cache

import (
	"crypto/sha256"
	"encoding"
	"errors"
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

// stoppedAgain is the same where another process stands in the way, which costs those
// who read some seconds each time.
const stoppedAgain = 2 * time.Minute

// oversizeAgain is the same for a blob of which a part alone is kept: none of that
// goes away while it is open, but for damage.
const oversizeAgain = time.Hour

// unkeep goes on without keeping what is missing, for that cause. c.mu is held.
func (c *content) unkeep(cause error) {
	if c.unkept == nil {
		c.unkept = newUnkept(c.form)
	}
	c.keepFrom = c.store.opts.Now().Add(triedAgain(cause))
	c.wake()
}

// triedAgain is after what time the disk is tried again that did not take something.
func triedAgain(cause error) time.Duration {
	switch {
	case errors.Is(cause, errLeased), errors.Is(cause, errStateLocked):
		return stoppedAgain
	case errors.Is(cause, errOversize):
		return oversizeAgain
	}
	return keepAgain
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

// isDisk says whether an error is of the disk, so that reading goes on without it.
func isDisk(err error) bool { return errors.Is(err, errUnkept) }

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
	c.unkeep(cause)
	c.mu.Unlock()
	// Files that cannot be closed properly are of a disk that is no use.
	_ = c.replace(old, c.bareForm())
}

// bareForm is that of a blob of which there is nothing on disk, nor can be.
func (c *content) bareForm() *form {
	return &form{chunks: newTable(chunksOf(c.key.size)), prefix: newPrefix()}
}
