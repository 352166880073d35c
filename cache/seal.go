package cache

import (
	"context"
	"fmt"
	"os"
)

// settle deals with the chunk that is held: it is shown, or, where it is all
// that is missing, first checked together with all others. That is what happens
// before the last bytes of a blob are handed out. The error is errMoved where
// damage was found on the way; the chunks concerned are misses then.
func (c *content) settle(ctx context.Context, f *form) error {
	seal, err := c.beginSeal(f)
	if err != nil || !seal {
		return err
	}
	defer func() { // after a panic, too: readers wait for it
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sealing = false
		c.wake()
	}()
	return c.seal(ctx, f)
}

// beginSeal shows the chunk that is held, or says that the digest is to be
// checked first, by whoever asked.
func (c *content) beginSeal(f *form) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := f.chunks
	switch {
	case c.poison != nil:
		return false, c.poison
	case c.form != f:
		return false, errMoved
	case t.held < 0 || c.sealing:
		return false, nil
	case t.missing > 1:
		// Others were dropped since it was held. One of them will be the last.
		t.add(t.held, t.sum(t.held))
		c.wake()
		return false, nil
	}
	c.sealing = true
	return true, nil
}

// seal checks the digest and makes the blob whole, or drops it.
func (c *content) seal(ctx context.Context, f *form) error {
	got, err := c.hashAll(ctx, f)
	if err != nil {
		return err
	}
	if got != c.key.digest.Hex {
		return c.condemn(f, got)
	}
	return c.publish(f)
}

// publish makes a verified partial form whole. A blob that cannot be kept is
// right all the same: its readers go on, and only who comes later fetches it
// again.
func (c *content) publish(f *form) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.current() != f {
		return errMoved
	}
	whole := &form{file: f.file, whole: true, chunks: f.chunks}
	err := errUnkept
	if f.file != nil {
		err = c.move(f)
	}
	if err != nil {
		c.store.opts.Logger.Warn("a verified blob cannot be kept", "digest", c.key.digest.String(), "error", c.store.onDisk(err))
		whole.mapping = f.mapping // with the records that it is opened by again
	}
	if f.file != nil {
		whole.ctime = changeTime(f.file)
	}
	c.mu.Lock()
	f.chunks.fill()
	c.form = whole
	c.drops = nil
	c.wake()
	c.mu.Unlock()
	if err == nil && f.mapping != nil {
		return f.mapping.Close()
	}
	return nil
}

// move moves the verified partial file to the blobs, in this order:
//
//  1. the sums, under another name, then renamed
//  2. rename the data into place
//  3. chmod it 0400
//  4. set the stamp
//  5. remove the map
//
// A crash in between leaves a partial file with its map, or a verified file. No
// sync: data that a crash of the machine loses does not match its sums, and is
// fetched again.
func (c *content) move(f *form) error {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return err
	}
	defer unlock()
	path := c.store.partialPath(c.key.repository, c.key.digest)
	blob := c.store.blobPath(c.key.digest)
	if !isAt(f.file, path) {
		// Another process has moved it. Or one that had other bytes has dropped it:
		// these are the right ones, and stay readable through the open file.
		return nil
	}
	c.mu.Lock() // the sums of 9 GiB take a millisecond
	sums := encodeSums(c.key.size, f.chunks)
	c.mu.Unlock()
	err = c.store.withRoom(func() error { return writeFile(c.store.sumsPath(c.key.digest), sums, 0o400) })
	if err != nil {
		return err
	}
	// Another repository may have put the blob there. This one is as good, and is
	// known not to be damaged.
	if err := os.Rename(path, blob); err != nil {
		return err
	}
	if err := f.file.Chmod(0o400); err != nil {
		return err
	}
	c.store.stamp(c.key.digest, f.file)
	return removeFiles(path + ".map")
}

// condemn drops a blob that is not what its digest says. Those who read it get
// an error from now on, whoever opens it next begins anew.
func (c *content) condemn(f *form, got string) error {
	c.store.counts.mismatches.Add(1)
	err := fmt.Errorf("%w: it is sha256:%s", ErrMismatch, got)
	c.store.opts.Logger.Error("blob dropped", "digest", c.key.digest.String(), "repository", c.key.repository, "error", err)
	dispute(c.from, c.key.digest)
	// The error last: who opens the blob after he has had it gets other bytes than
	// these.
	if f.file != nil {
		c.removePartial(f.file)
	}
	c.store.disown(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poison = err
	c.wake()
	return err
}
