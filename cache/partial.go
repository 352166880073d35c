package cache

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
)

// openPartial opens or makes the partial file of the blob and its map, and reads
// what is there.
func (c *content) openPartial() (*form, error) {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := c.store.partialPath(c.key.repository, c.key.digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// One that is not as long as the blob is damaged, or of a manifest that gives
	// another size. Others may have it open: it is replaced, not changed.
	if info, err := os.Lstat(path); err == nil && info.Size() != c.key.size {
		if err := removeFiles(path+".map", path); err != nil {
			return nil, err
		}
	}
	f := &form{chunks: newTable(chunksOf(c.key.size)), prefix: newPrefix()}
	if f.file, err = os.OpenFile(path, os.O_RDWR, 0); errors.Is(err, iofs.ErrNotExist) {
		if err := removeFiles(path + ".map"); err != nil { // it speaks of other data
			return nil, err
		}
		f.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if f.mapping, err = os.OpenFile(path+".map", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(err, f.file.Close())
	}
	if err := c.load(f); err != nil {
		return nil, errors.Join(err, f.close())
	}
	c.store.use(path + ".map")
	return f, nil
}

// load reads the map of a partial file.
func (c *content) load(f *form) error {
	// The evictor leaves alone what is locked so.
	if err := lockShared(f.file); err != nil {
		return err
	}
	// Nothing, where it has that length already.
	if err := f.file.Truncate(c.key.size); err != nil {
		return err
	}
	if _, err := c.refresh(f, span{0, f.chunks.n}); err != nil {
		return err
	}
	header := make([]byte, headerSize)
	n, _ := f.mapping.ReadAt(header, 0) // one that cannot be read is like none
	f.prefix = decodeHeader(header[:n], c.key.size, f.chunks)
	return nil
}

// refresh takes over what the map has of a span, which other processes may have
// put there, and says whether that was anything new. The chunk that completes
// the blob is held until the digest was checked, which a record cannot stand
// for.
func (c *content) refresh(f *form, s span) (fresh bool, err error) {
	err = readRecords(f.mapping, s, func(found []recorded) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, r := range found {
			switch {
			case f.chunks.has(r.chunk) || f.chunks.held == r.chunk:
				continue
			case f.chunks.missing > 1:
				f.chunks.add(r.chunk, r.crc)
				fresh = true
			default:
				f.chunks.hold(r.chunk, r.crc)
				fresh = true
			}
			c.kept(span{r.chunk, r.chunk + 1})
		}
		if fresh {
			c.wake()
		}
	})
	return fresh, err
}

// drop makes chunks of a partial file a miss, in this process and in those to
// come. If that fails half-way a chunk's sum still tells. What goes first is
// their share in the prefix, here and on disk: the bytes that come in their
// place must not be taken for those that were hashed.
func (c *content) drop(f *form, chunks []int) error {
	c.mu.Lock()
	moved := c.form != f
	if !moved {
		for _, i := range chunks {
			f.chunks.drop(i)
			if int64(i)*chunkSize < f.prefix.reach {
				f.prefix = newPrefix()
			}
		}
	}
	c.mu.Unlock()
	if moved {
		return nil
	}
	if _, err := f.mapping.WriteAt(make([]byte, headerSize), 0); err != nil {
		return err
	}
	for _, i := range chunks {
		if _, err := f.mapping.WriteAt(make([]byte, recordSize), recordOffset(i)); err != nil {
			return err
		}
	}
	// It may have been cut short, and would not be taken for this blob's again.
	info, err := f.file.Stat()
	if err == nil && info.Size() < c.key.size {
		err = f.file.Truncate(c.key.size)
	}
	return err
}

// removePartial removes the partial file, if it is still f, and its map: the map
// first, since data without a map is nothing, and a map without its data would
// speak of whatever comes in its place. A failure leaves what is damaged or
// useless, and is found out again.
func (c *content) removePartial(f *os.File) {
	unlock, err := c.store.lockState(c.key.digest)
	if err == nil {
		defer unlock()
		if path := c.store.partialPath(c.key.repository, c.key.digest); isAt(f, path) {
			err = removeFiles(path+".map", path)
		}
	}
	if err != nil {
		c.store.opts.Logger.Warn("remove a partial blob", "digest", c.key.digest.String(), "error", err)
	}
}

// removeFiles removes files in order. One that is gone is no error.
func removeFiles(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	return nil
}
