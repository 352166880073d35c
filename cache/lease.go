package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// maxPoll is how long a download waits before it looks again whether another
	// process is done with a chunk.
	maxPoll = 50 * time.Millisecond
	// maxLease is how long it waits for one that brings nothing: one that is
	// stopped, or has a source that is silent. Then this process fetches the same
	// without keeping it, and looks again later.
	maxLease = 5 * time.Second
)

var (
	errLeased  = errors.New("another process is fetching it, and nothing comes")
	errYielded = errors.New("the whole blob is being fetched")
)

// lease takes the chunks of a download for this process, so that no other writes
// them, and returns the form that they are in. While another process has some of
// them it waits, and takes over what that one fetched. The kernel gives a lease
// back when the process ends, however it ends.
//
// Within the process downloads do not overlap, but for one that became the whole
// blob: it waits until those that have their lease have ended, and the others
// end with errYielded.
func (d *download) lease(ctx context.Context) (f *form, unlock func(), err error) {
	waited, renewals := time.Duration(0), 0
	for pause := time.Millisecond; ; pause = min(2*pause, maxPoll) {
		if f = d.current(); f.whole {
			return f, func() {}, nil
		}
		if f.file == nil { // perhaps the disk has come back
			if err := d.renew(f); err != nil {
				return nil, nil, d.store.onDisk(err)
			}
			continue
		}
		overlapped := d.overlapped()
		if overlapped && !d.all {
			return nil, nil, errYielded
		}
		locked, fresh, err := d.tryLease(f, !overlapped)
		switch {
		case d.current() != f:
			if renewals++; renewals > maxHeals {
				return nil, nil, d.store.onDisk(errUnsound)
			}
			continue
		case err != nil:
			return nil, nil, d.store.onDisk(err)
		case locked:
			at, n := recordRange(d.span)
			return f, func() { _ = unlockRange(f.mapping, at, n) }, nil // closed by then, it is unlocked as well
		case d.complete(f, d.span):
			return f, func() {}, nil
		}
		d.split(f)
		if waited += pause; fresh || overlapped {
			waited = 0
		} else if waited > maxLease {
			return nil, nil, d.store.onDisk(fmt.Errorf("%w, for %s", errLeased, maxLease))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errClosed
		}
	}
}

// tryLease leases the span of a download, if it may and nobody has any of it, and takes over
// what the map has of it: what another process fetched need not be fetched
// again. A form that is no longer what the directory has of the blob is renewed
// instead.
func (d *download) tryLease(f *form, may bool) (locked, fresh bool, err error) {
	at, n := recordRange(d.span)
	if may {
		if locked, err = tryLock(f.mapping, at, n); err != nil {
			return false, false, err
		}
	}
	if locked && !d.upToDate(f) {
		err = d.renew(f)
	} else {
		fresh, err = d.refresh(f, d.span)
	}
	if err != nil && locked {
		_ = unlockRange(f.mapping, at, n)
	}
	return locked, fresh, err
}

// split makes two of a download that another process has some chunks of, so that
// the others need not wait for it.
func (d *download) split(f *form) {
	at, n := recordRange(d.span)
	start, length, err := lockedBy(f.mapping, at, n)
	if err != nil || length <= 0 || d.all {
		return
	}
	cut := int((start - headerSize) / recordSize)
	if cut <= d.span.from {
		cut = int((start + length - headerSize) / recordSize)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.span.from < cut && cut < d.span.to && d.form == f {
		rest := span{cut, d.span.to}
		d.span.to = cut
		_ = d.fetch(rest, nil) // fails only where the store is closed
	}
}

// upToDate says whether a form is what the directory has of the blob.
func (c *content) upToDate(f *form) bool {
	path := c.store.partialPath(c.key.repository, c.key.digest)
	if !isAt(f.mapping, path+".map") { // which never outlives the data
		return false
	}
	_, err := os.Lstat(c.store.blobPath(c.key.digest))
	return err != nil // or another repository has completed it
}

// overlapped says whether another download has chunks of d.
func (d *download) overlapped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.downloads {
		if other != d && other.span.overlaps(d.span) {
			return true
		}
	}
	return false
}

// complete says whether all chunks of a span may be read.
func (c *content) complete(f *form, s span) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, missing := f.chunks.firstMissing(s)
	return !missing
}
