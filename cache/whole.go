package cache

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
)

// openWhole opens the verified file of the blob, or returns nil where there is
// none. A file that is damaged is removed; sums that are lost are made anew from
// a file that still has its digest.
func (c *content) openWhole() (*form, error) {
	file, err := c.lockWhole()
	if file == nil || err != nil {
		return nil, err
	}
	c.store.use(c.store.sumsPath(c.key.digest))
	t, err := c.wholeTable(file)
	if t == nil {
		return nil, errors.Join(err, file.Close())
	}
	f := &form{file: file, whole: true, chunks: t, ctime: changeTime(file)}
	if c.store.stamped(c.key.digest, file) && c.settled(f.ctime) {
		t.check(span{0, t.n}) // by whoever set the stamp
	}
	return f, nil
}

// lockWhole opens the verified file of the blob, nil where there is none, and takes
// the lock that keeps the evictor away. One that was evicted in between is none.
func (c *content) lockWhole() (*os.File, error) {
	path := c.store.blobPath(c.key.digest)
	file, err := os.Open(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := lockShared(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := os.Lstat(path); errors.Is(err, iofs.ErrNotExist) {
		return nil, file.Close()
	}
	return file, nil
}

// wholeTable returns the table of a verified file, or nil where it was damaged.
func (c *content) wholeTable(file *os.File) (*table, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The file is what its digest says, and so it is the manifest that lies. It
	// may be of another repository than those that rightly use the blob.
	otherSize := fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, info.Size(), c.key.size)
	if info.Size() != c.key.size && c.store.stamped(c.key.digest, file) {
		return nil, otherSize // by whoever set the stamp
	}
	ctime := changeTime(file)
	path := c.store.sumsPath(c.key.digest)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	if info.Size() == c.key.size {
		if t := decodeSums(b, c.key.size); t != nil {
			return t, nil
		}
	}
	switch t, err := c.sumsOf(file, info.Size()); {
	case err != nil:
		return nil, err
	case t == nil:
		return nil, c.removeWhole(file)
	case info.Size() != c.key.size:
		return nil, otherSize
	default:
		c.keepSums(path, t)
		if changeTime(file) == ctime {
			c.store.stamp(c.key.digest, file)
		}
		return t, nil
	}
}

// keepSums writes sums that were lost. Where that fails the blob is right all the
// same, and whoever opens it next computes them again.
func (c *content) keepSums(path string, t *table) {
	err := writeFile(path, encodeSums(c.key.size, t), 0o400)
	if err == nil {
		return
	}
	// It is the same with every blob.
	c.store.unkeptSums.Do(func() {
		c.store.opts.Logger.Warn("the sums of a blob cannot be kept; each time it is opened all of it is read",
			"digest", c.key.digest.String(), "error", c.store.onDisk(err))
	})
}

// removeWhole removes the verified file and its sums, if it is still f.
func (c *content) removeWhole(f *os.File) error {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return err
	}
	defer unlock()
	path := c.store.blobPath(c.key.digest)
	if !isAt(f, path) {
		return nil
	}
	err = os.Remove(path)
	if sums := os.Remove(c.store.sumsPath(c.key.digest)); sums != nil && !errors.Is(sums, iofs.ErrNotExist) {
		err = errors.Join(err, sums)
	}
	return err
}
