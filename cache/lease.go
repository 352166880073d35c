package cache

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxPoll is how long a download waits before it looks again whether another
// process is done with a chunk.
const maxPoll = 50 * time.Millisecond

// lease takes the chunks of a span for this process, so that no other fetches
// them too. While another has some of them it waits, and takes over what that
// one fetched. The kernel gives the lease back when the process ends, however it
// ends.
func (c *content) lease(ctx context.Context, s span) (unlock func(), err error) {
	for pause := time.Millisecond; ; pause = min(2*pause, maxPoll) {
		c.mu.Lock()
		mapping := c.mapping
		if mapping == nil { // the blob is whole by now
			c.mu.Unlock()
			return func() {}, nil
		}
		locked, err := tryLock(mapping, recordOffset(s.from), int64(s.to-s.from)*recordSize)
		if err == nil {
			// What another process fetched in the meantime need not be fetched again.
			err = c.refresh(s.from, s.to)
			c.wake()
		}
		_, missing := c.firstMissing(s.from, s.to-1)
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if locked {
			// The map may be closed by then, and its locks gone with it.
			return func() { _ = unlockRange(mapping, recordOffset(s.from), int64(s.to-s.from)*recordSize) }, nil
		}
		if !missing {
			return func() {}, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errClosed
		}
	}
}

// lockState locks a blob's state on disk, in all processes: it is held while the
// blob is created, completed or dropped, never while bytes are fetched.
func (s *Store) lockState(d v1.Hash) (unlock func(), err error) {
	b, err := hex.DecodeString(d.Hex[:16])
	if err != nil {
		return nil, err
	}
	// Two digests that share a byte wait for each other, which harms nobody.
	at := int64(binary.BigEndian.Uint64(b) >> 2)
	return lockExclusive(s.lock, at)
}
