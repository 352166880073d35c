package cache

import (
	"errors"
	"io"
	"os"
	"sync"
)

// bufferChunks is how many chunks are read, checked or written in one piece.
const bufferChunks = 16

// buffers keeps pieces of bufferChunks chunks for reuse.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferChunks*chunkSize); return &b }}

// copyOut copies the bytes at off, which are in chunks first to last of file,
// into p. Chunks that were not checked in this process are checked first; if
// one is damaged it is dropped, and 0 returned.
func (c *content) copyOut(file *os.File, whole bool, p []byte, off int64, first, last int) (int, error) {
	if whole && c.changedOnDisk(file) {
		c.mu.Lock()
		clear(c.checked)
		c.mu.Unlock()
	}
	c.mu.Lock()
	checked := true
	for i := first; i <= last && checked; i++ {
		checked = c.checked.has(i)
	}
	c.mu.Unlock()
	if checked {
		n, err := file.ReadAt(p, off)
		if n == len(p) {
			return n, nil
		}
		return 0, c.unreadable(file, whole, first, last, err)
	}

	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	start := int64(first) * chunkSize
	b := (*buffer)[:min(int64(last+1)*chunkSize, c.key.size)-start]
	if n, err := file.ReadAt(b, start); n < len(b) {
		return 0, c.unreadable(file, whole, first, last, err)
	}
	c.mu.Lock()
	if c.file != file { // it changed its form meanwhile
		c.mu.Unlock()
		return 0, nil
	}
	damaged := false
	for i := first; i <= last; i++ {
		chunk := b[int64(i)*chunkSize-start:][:chunkLen(i, c.key.size)]
		switch {
		case c.checked.has(i):
		case sum(chunk) == c.sums[i]:
			c.checked.set(i)
		default:
			damaged = true
			if !whole {
				c.drop(i)
			}
		}
	}
	c.mu.Unlock()
	if damaged {
		c.store.opts.Logger.Warn("damaged chunk in the cache; fetching it again", "digest", c.key.digest.String())
		if whole {
			return 0, c.demote(file)
		}
		return 0, nil
	}
	return copy(p, b[off-start:]), nil
}

// unreadable deals with a file that does not yield what it should hold: one that
// was cut short is damage and a miss, anything else an error of the disk.
func (c *content) unreadable(file *os.File, whole bool, first, last int, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if whole {
		return c.demote(file)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := first; i <= last; i++ {
		c.drop(i)
	}
	return file.Truncate(c.key.size)
}

// drop makes a chunk of a partial file a miss. c.mu is held.
func (c *content) drop(i int) {
	if !c.present.has(i) {
		return
	}
	c.present.unset(i)
	c.checked.unset(i)
	c.missing++
	if c.mapping != nil {
		// Another process, or this one after a restart, must not believe it either.
		// If this fails the chunk's sum still says so.
		_, _ = c.mapping.WriteAt(make([]byte, recordSize), recordOffset(i))
	}
	if int64(i)*chunkSize < c.hashed {
		// What comes in its place may differ from what was hashed.
		c.rehash()
	}
}
