package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"sync"
	"time"
)

// content is the state of an open blob that all its readers in the process
// share. It is in one of two forms: whole, a verified file with a sum for each
// chunk, or partial, a sparse file with a map.
type content struct {
	store     *Store
	key       contentKey
	from      Fetcher
	readers   int // guarded by store.mu
	downloads int // guarded by store.mu

	mu      sync.Mutex
	file    *os.File      // guarded by mu; the bytes
	mapping *os.File      // guarded by mu; the map of a partial file, nil when whole
	present bitmap        // guarded by mu; chunks that may be read
	checked bitmap        // guarded by mu; of those, the ones known to match their sum
	sums    []uint32      // guarded by mu
	missing int           // guarded by mu; chunks that are not there
	changed chan struct{} // guarded by mu; closed when something below or above changes

	// A whole file was checked while its change time was this.
	ctime int64 // guarded by mu

	// The SHA-256 over the first hashed bytes of a partial file.
	digest  hash.Hash // guarded by mu, but for whoever set hashing
	hashed  int64     // guarded by mu
	hashing bool      // guarded by mu; a goroutine has digest
	epoch   int       // guarded by mu; changes when hashed bytes are found damaged
	sealing bool      // guarded by mu; all is there, the digest is being checked

	segments []*segment // guarded by mu; what is being fetched
	queue    []span     // guarded by mu; what is to be fetched ahead
	failure  error      // guarded by mu; of the last download that failed
	failures int        // guarded by mu; how many did
	retryAt  time.Time  // guarded by mu; until then failure answers
	poison   error      // guarded by mu; the blob is not what its digest says
}

// A span is a run of chunks.
type span struct{ from, to int }

// openContent opens a blob in the form that it has on disk.
func openContent(s *Store, k contentKey, from Fetcher) (*content, error) {
	c := &content{store: s, key: k, from: from, changed: make(chan struct{})}
	whole, err := c.openWhole()
	if err != nil || whole {
		return c, err
	}
	if err := c.openPartial(); err != nil {
		return nil, err
	}
	if k.size > 0 {
		return c, nil
	}
	// There is nothing to fetch, and so nobody who would check it.
	if empty := sha256.Sum256(nil); hex.EncodeToString(empty[:]) != k.digest.Hex {
		return nil, errors.Join(fmt.Errorf("%w: no bytes have another", ErrMismatch), c.close())
	}
	return c, c.publish()
}

// reset forgets what is known of the chunks. c.mu is held, or nobody else has c.
func (c *content) reset() {
	n := chunksOf(c.key.size)
	c.present, c.checked, c.sums = newBitmap(n), newBitmap(n), make([]uint32, n)
	c.missing = n
	c.digest, c.hashed = sha256.New(), 0
	c.epoch++
}

// wake tells those who wait that something changed. c.mu is held.
func (c *content) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *content) verified() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mapping == nil && c.poison == nil && c.file != nil
}

// close closes the files. Nobody uses c any more.
func (c *content) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.mapping != nil {
		c.saveHeader()
		errs = append(errs, c.mapping.Close())
	}
	if c.file != nil {
		errs = append(errs, c.file.Close())
	}
	c.mapping, c.file = nil, nil
	return errors.Join(errs...)
}

// readAt fills p, which lies within the blob.
func (c *content) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		// One step is at most a buffer's worth, so that what has to be checked fits
		// into one.
		at := off + int64(n)
		first := int(at / chunkSize)
		last := min(int((off+int64(len(p))-1)/chunkSize), first+bufferChunks-1)
		file, whole, err := c.need(ctx, first, last)
		if err != nil {
			return n, err
		}
		want := p[n:]
		if end := int64(last+1)*chunkSize - at; int64(len(want)) > end {
			want = want[:end]
		}
		m, err := c.copyOut(file, whole, want, at, first, last)
		if err != nil {
			return n, err
		}
		n += m // 0 where damage was found: it is fetched again
	}
	c.store.counts.read.Add(int64(n))
	return n, nil
}

// need waits until chunks first to last are there and returns the file that they
// are in. Chunks asked for here go before those fetched ahead.
func (c *content) need(ctx context.Context, first, last int) (file *os.File, whole bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.failures
	for {
		if c.poison != nil {
			return nil, false, c.poison
		}
		if c.file == nil {
			return nil, false, os.ErrClosed
		}
		i, ok := c.firstMissing(first, last)
		if !ok {
			return c.file, c.mapping == nil, nil
		}
		if !c.inFlight(i) && !c.sealing {
			if c.failures != seen {
				return nil, false, c.failure
			}
			if c.failure != nil && c.store.opts.Now().Before(c.retryAt) {
				return nil, false, c.failure
			}
			if err := c.start(span{first, last + 1}); err != nil {
				return nil, false, err
			}
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		c.mu.Lock()
		if err != nil {
			return nil, false, err
		}
	}
}

// firstMissing returns the first chunk of first to last that is not there.
func (c *content) firstMissing(first, last int) (int, bool) {
	for i := first; i <= last; i++ {
		if !c.present.has(i) {
			return i, true
		}
	}
	return 0, false
}

// inFlight says whether chunk i is being fetched.
func (c *content) inFlight(i int) bool {
	for _, s := range c.segments {
		if s.from <= i && i < s.to {
			return true
		}
	}
	return false
}
