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
	// stopped, since a source that is silent is given up sooner, and the digest of
	// a large blob is computed in less.
	maxLease = 2 * time.Minute
)

var (
	errLeased  = errors.New("another process is fetching it, and nothing comes")
	errYielded = errors.New("the whole blob is being fetched")
)

// lease takes the chunks of a segment for this process, so that no other writes
// them, and returns the form that they are in. While another process has some of
// them it waits, and takes over what that one fetched. The kernel gives a lease
// back when the process ends, however it ends.
//
// Within the process segments do not overlap, but for one that became the whole
// blob: it waits until those that have their lease have ended, and the others
// end with errYielded.
func (c *content) lease(ctx context.Context, seg *segment) (f *form, unlock func(), err error) {
	waited, renewals := time.Duration(0), 0
	for pause := time.Millisecond; ; pause = min(2*pause, maxPoll) {
		if f = c.current(); f.whole {
			return f, func() {}, nil
		}
		overlapped := c.overlapped(seg)
		if overlapped && !seg.all {
			return nil, nil, errYielded
		}
		locked, fresh, err := c.tryLease(f, seg, !overlapped)
		switch {
		case c.current() != f:
			if renewals++; renewals > maxHeals {
				return nil, nil, c.store.onDisk(errUnsound)
			}
			continue
		case err != nil:
			return nil, nil, c.store.onDisk(err)
		case locked:
			at, n := recordRange(seg.span)
			return f, func() { _ = unlockRange(f.mapping, at, n) }, nil // closed by then, it is unlocked as well
		case c.complete(f, seg.span):
			return f, func() {}, nil
		}
		c.split(f, seg)
		if waited += pause; fresh || overlapped {
			waited = 0
		} else if waited > maxLease {
			return nil, nil, fmt.Errorf("%w, for %s", errLeased, maxLease)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errClosed
		}
	}
}

// tryLease leases a segment, if it may and nobody has any of it, and takes over
// what the map has of it: what another process fetched need not be fetched
// again. A form that is no longer what the directory has of the blob is renewed
// instead.
func (c *content) tryLease(f *form, seg *segment, may bool) (locked, fresh bool, err error) {
	at, n := recordRange(seg.span)
	if may {
		if locked, err = tryLock(f.mapping, at, n); err != nil {
			return false, false, err
		}
	}
	if locked && !c.upToDate(f) {
		err = c.renew(f)
	} else {
		fresh, err = c.refresh(f, seg.span)
	}
	if err != nil && locked {
		_ = unlockRange(f.mapping, at, n)
	}
	return locked, fresh, err
}

// split makes two of a segment that another process has some chunks of, so that
// the others need not wait for it.
func (c *content) split(f *form, seg *segment) {
	at, n := recordRange(seg.span)
	start, length, err := lockedBy(f.mapping, at, n)
	if err != nil || length <= 0 || seg.all {
		return
	}
	cut := int((start - headerSize) / recordSize)
	if cut <= seg.from {
		cut = int((start + length - headerSize) / recordSize)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if seg.from < cut && cut < seg.to && c.form == f {
		rest := span{cut, seg.to}
		seg.to = cut
		_ = c.fetch(rest, nil) // fails only where the store is closed
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

// overlapped says whether another segment has chunks of seg.
func (c *content) overlapped(seg *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segments {
		if s != seg && s.overlaps(seg.span) {
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
