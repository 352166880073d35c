package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/crc32"
)

// hashAhead is how much of the beginning has to be there before it is worth
// waking the hasher.
const hashAhead = 1 << 20

// A prefix is the SHA-256 over the beginning of a partial blob. When a chunk
// that it covers is found damaged another takes its place: what comes instead
// may differ from what was hashed.
type prefix struct {
	digest hash.Hash // for whoever set content.hashing
	hashed int64     // bytes it covers, whole chunks; guarded by content.mu
	reach  int64     // bytes it will cover in a moment; guarded by content.mu
	sums   uint32    // CRC32C of the CRC32Cs of what it covers; guarded by content.mu

	saved   []byte // the state of digest when it covered savedAt bytes; guarded by content.mu
	savedAt int64  // guarded by content.mu
}

func newPrefix() *prefix { return &prefix{digest: sha256.New()} }

// addSums adds sums of chunks to the sum over those before.
func addSums(crc uint32, sums ...uint32) uint32 {
	var b [4]byte
	for _, s := range sums {
		binary.BigEndian.PutUint32(b[:], s)
		crc = crc32.Update(crc, castagnoli, b[:])
	}
	return crc
}

// hashPrefix starts hashing what has come of the blob's beginning, if that is
// worth it and nobody is at it: beside the download, off the readers' path. c.mu
// is held.
func (c *content) hashPrefix(ctx context.Context, f *form) {
	if c.hashing || c.sealing {
		return
	}
	end := c.contiguous(f)
	if end-f.prefix.hashed < hashAhead || !c.store.retain(c) {
		return
	}
	c.hashing = true
	go func() {
		defer c.store.fetching.Done()
		// An error is for the one who needs the digest; he will have it too.
		_ = guarded(func() error {
			defer c.endHashing()
			if err := c.hashUpTo(ctx, f, end); err != nil {
				return err
			}
			c.savePrefix(f)
			return nil
		})
		_ = c.store.release(c, 0, 1) // closes files of which every write was checked
	}()
}

// endHashing lets the next go at the prefix.
func (c *content) endHashing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hashing = false
	c.wake()
}

// contiguous is how many bytes of the blob's beginning are there. c.mu is held.
func (c *content) contiguous(f *form) int64 {
	i := chunksOf(f.prefix.hashed)
	for i < f.chunks.n && f.chunks.has(i) {
		i++
	}
	_, end := span{0, i}.bytes(c.key.size)
	return end
}

// hashUpTo adds the bytes up to end to the prefix. c.hashing is set by the
// caller. Each chunk is checked first: a damaged one must not be taken for the
// registry's fault. It is dropped then, and the error is errMoved.
func (c *content) hashUpTo(ctx context.Context, f *form, end int64) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	var sums [bufferChunks]uint32
	for {
		c.mu.Lock()
		p := f.prefix
		at := p.hashed
		first := chunksOf(at)
		s := span{first, min(chunksOf(end), first+bufferChunks)}
		moved := c.form != f
		for i := s.from; i < s.to; i++ {
			// One that was dropped meanwhile is fetched again, and may be another then.
			moved = moved || !f.chunks.has(i) && f.chunks.held != i
			sums[i-s.from] = f.chunks.sum(i)
		}
		_, to := s.bytes(c.key.size)
		if !moved {
			p.reach = max(at, to)
		}
		c.mu.Unlock()
		if moved {
			return errMoved
		}
		if at >= end {
			return nil
		}
		if ctx.Err() != nil {
			return errClosed
		}
		b := (*buffer)[:to-at]
		n, err := f.file.ReadAt(b, at)
		if damaged := damagedChunks(b, n, s, c.key.size, sums[:]); len(damaged) > 0 {
			c.mu.Lock()
			p.reach = at
			c.mu.Unlock()
			if err := c.heal(f, damaged, err); err != nil {
				return err
			}
			return errMoved
		}
		p.digest.Write(b)
		c.mu.Lock()
		moved = c.form != f || f.prefix != p
		if !moved {
			p.hashed = to
			p.sums = addSums(p.sums, sums[:s.len()]...)
		}
		c.mu.Unlock()
		if moved {
			return errMoved
		}
	}
}

// savePrefix keeps the prefix in the map for whoever goes on after this process.
// c.hashing is set by the caller. That it fails costs time later, nothing else.
func (c *content) savePrefix(f *form) {
	c.mu.Lock()
	p := f.prefix
	b, err := encodeHeader(c.key.size, p)
	if err == nil {
		p.saved, p.savedAt = stateIn(b), p.hashed
	}
	c.mu.Unlock()
	if err != nil {
		return
	}
	_, _ = f.mapping.WriteAt(b, 0)
	c.mu.Lock()
	moved := f.prefix != p
	c.mu.Unlock()
	if moved {
		// A chunk was dropped in between, and the header as well, but before this.
		_, _ = f.mapping.WriteAt(make([]byte, headerSize), 0)
	}
}

// hashAll brings the prefix to the end of the blob and returns its digest.
func (c *content) hashAll(ctx context.Context, f *form) (string, error) {
	c.mu.Lock()
	for c.hashing {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", errClosed
		}
		c.mu.Lock()
	}
	c.hashing = true
	c.mu.Unlock()
	defer c.endHashing()
	if err := c.hashUpTo(ctx, f, c.key.size); err != nil {
		return "", err
	}
	c.mu.Lock()
	p, hashed := f.prefix, f.prefix.hashed
	c.mu.Unlock()
	if hashed < c.key.size {
		return "", errMoved // it was begun again since
	}
	return hex.EncodeToString(p.digest.Sum(nil)), nil
}
