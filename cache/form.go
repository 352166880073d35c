package cache

import (
	"errors"
	"fmt"
	"os"
)

// A form is how a blob is on disk: whole, a verified file that never changes, or
// partial, a sparse file that is being filled, with a map. A content that turns
// from one to the other gets another form, so whoever did something with one can
// see that it no longer counts.
//
// One without a file is of a blob that the disk can do nothing for.
type form struct {
	file    *os.File
	mapping *os.File // of a partial file
	whole   bool

	chunks *table  // guarded by content.mu
	prefix *prefix // of a partial file; guarded by content.mu
	// Chunks of a whole file were checked while its change time was this. Those
	// of a partial one are checked at each read: its change time says nothing.
	ctime int64 // guarded by content.mu
}

func (f *form) close() error {
	var err error
	if f.mapping != nil {
		err = f.mapping.Close()
	}
	if f.file == nil {
		return err
	}
	return errors.Join(err, f.file.Close())
}

// errMoved is what an operation on a form gets that was overtaken: the content
// has another form by now, or a chunk was found damaged. It is done again on
// what there is.
var errMoved = errors.New("the blob changed on disk meanwhile")

// errUnsound is a disk that does not give back what was written, however often.
var errUnsound = errors.New("it does not keep what is written to it")

// openForm opens the blob as it is on disk.
func (c *content) openForm() (*form, error) {
	f, err := c.openWhole()
	if f == nil && err == nil {
		f, err = c.openPartial()
	}
	return f, err
}

// replace puts another form in the place of old, if the content still has that,
// and closes the one that is not needed. Readers who are at the old one find its
// file closed and look again. c.changing is held.
func (c *content) replace(old, f *form) error {
	c.mu.Lock()
	unused := f
	if c.form == old && old != nil {
		f.chunks.inherit(old.chunks)
		c.form, unused = f, old
		c.wake()
	}
	c.mu.Unlock()
	return unused.close()
}

// renew replaces a form that is no longer what the directory has: another
// process, or another repository, completed the blob; or it was dropped.
func (c *content) renew(old *form) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.current() != old {
		return nil
	}
	f, err := c.openForm()
	if err != nil {
		return err
	}
	if f.whole && old.file != nil {
		c.removePartial(old.file)
	}
	return c.replace(old, f)
}

// demote makes a blob whose verified file is damaged a partial one: whoever
// reads it fetches it again.
func (c *content) demote(old *form) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.current() != old {
		return nil // another reader was first
	}
	if err := c.removeWhole(old.file); err != nil {
		return c.store.onDisk(fmt.Errorf("remove a damaged blob: %w", err))
	}
	f, err := c.openPartial()
	if err != nil {
		return c.store.onDisk(err)
	}
	return c.replace(old, f)
}

// current is the form that the content has, nil when it is closed.
func (c *content) current() *form {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.form
}

// isAt says whether path names the open file f.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}
