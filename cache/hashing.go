package cache

import (
	"errors"
	"fmt"
	"os"
)

// hashAhead is how much of the beginning has to be there before it is worth
// waking the hasher.
const hashAhead = 1 << 20

// hashPrefix starts hashing what has come of the blob's beginning, if that is
// worth it and nobody is at it: beside the download, off the readers' path. c.mu
// is held, by a download, whose hold on c the hasher outlives by at most one
// piece: the download waits for it.
func (c *content) hashPrefix() {
	if c.hashing || c.sealing || c.poison != nil {
		return
	}
	end := c.contiguous()
	if end-c.hashed < hashAhead {
		return
	}
	if !c.store.retain(c) {
		return
	}
	c.hashing = true
	go func() {
		defer c.store.fetching.Done()
		err := c.hashUpTo(end)
		c.mu.Lock()
		c.hashing = false
		if err == nil {
			c.saveHeader()
		}
		c.wake()
		c.mu.Unlock()
		_ = c.store.release(c, 0, 1) // closing a file that was only read and written by chunks
	}()
}

// contiguous is how many bytes of the blob's beginning are there. c.mu is held.
func (c *content) contiguous() int64 {
	i := int(c.hashed / chunkSize)
	for i < len(c.sums) && c.present.has(i) {
		i++
	}
	return min(int64(i)*chunkSize, c.key.size)
}

// errMoved is what a hasher gets that was overtaken by damage: it is tried again
// when the chunk is back.
var errMoved = errors.New("a chunk was dropped while it was hashed")

// hashUpTo adds the bytes up to end to SHA-256. c.hashing is set by the caller
// and c.mu is not held. Chunks that another process wrote are checked first: a
// damaged one must not be taken for the registry's fault.
func (c *content) hashUpTo(end int64) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		c.mu.Lock()
		at, epoch, file, digest := c.hashed, c.epoch, c.file, c.digest
		c.mu.Unlock()
		if at >= end {
			return nil
		}
		b := (*buffer)[:min(int64(len(*buffer)), end-at)]
		if n, err := file.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("read back: %w", err)
		}
		if err := c.checkForHash(file, b, at); err != nil {
			return err
		}
		digest.Write(b)
		c.mu.Lock()
		if c.epoch != epoch {
			// The state was replaced: what was just hashed went into the old one.
			c.mu.Unlock()
			return errMoved
		}
		c.hashed = at + int64(len(b))
		c.mu.Unlock()
	}
}

// checkForHash compares the chunks in b, which begin at off, with their sums.
func (c *content) checkForHash(file *os.File, b []byte, off int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := int(off / chunkSize)
	damaged := false
	for i := first; int64(i)*chunkSize < off+int64(len(b)); i++ {
		chunk := b[int64(i)*chunkSize-off:][:chunkLen(i, c.key.size)]
		if sum(chunk) == c.sums[i] {
			c.checked.set(i)
			continue
		}
		damaged = true
		if c.file == file {
			c.drop(i)
		}
	}
	if damaged {
		return errMoved
	}
	return nil
}
