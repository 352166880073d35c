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
	waited, held, renewals := time.Duration(0), time.Duration(0), 0
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
		wanted := d.leaseSpan()
		locked, fresh, err := d.tryLease(f, wanted, !overlapped)
		switch {
		case d.current() != f:
			if renewals++; renewals > maxHeals {
				return nil, nil, d.store.onDisk(errUnsound)
			}
			continue
		case err != nil:
			return nil, nil, d.store.onDisk(err)
		case locked:
			d.hold(wanted)
			return f, func() { d.unlease(f) }, nil
		case d.complete(f, d.span):
			return f, func() {}, nil
		case d.otherHasRanges(f, wanted):
			continue
		}
		d.split(f)
		if waited += pause; fresh || overlapped {
			waited = 0
		} else if waited > maxLease {
			return nil, nil, d.store.onDisk(fmt.Errorf("%w, for %s", errLeased, maxLease))
		}
		if held += pause; held > maxHold {
			d.dropBody()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, errClosed
		}
	}
}

// hold takes note of what is leased.
func (d *download) hold(s span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = s
}

// unlease gives back what is leased.
func (d *download) unlease(f *form) {
	d.mu.Lock()
	held := d.held
	d.held = span{}
	d.mu.Unlock()
	at, n := recordRange(held)
	_ = unlockRange(f.mapping, at, n) // closed by then, it is unlocked as well
}

// tryLease leases a span for a download, if it may and nobody has any of it, and takes over
// what the map has of it: what another process fetched need not be fetched
// again. A form that is no longer what the directory has of the blob is renewed
// instead.
func (d *download) tryLease(f *form, wanted span, may bool) (locked, fresh bool, err error) {
	at, n := recordRange(wanted)
	if may {
		if locked, err = tryLock(f.mapping, at, n); err != nil {
			return false, false, err
		}
	}
	switch {
	case locked && !d.upToDate(f):
		err = d.renew(f)
	case locked:
		_, err = d.refresh(f, wanted)
	default:
		fresh, err = d.takeOver(f, wanted)
	}
	if err != nil && locked {
		_ = unlockRange(f.mapping, at, n)
	}
	return locked, fresh, err
}

// overlook is by how many chunks one who waits for a stream of a whole blob looks beyond
// what he knows of it: 128 MiB, which nobody brings in maxPoll.
const overlook = 8192

// takeOver takes over what another process brings while it is waited for. One that
// has all of the blob begins at its beginning.
func (d *download) takeOver(f *form, wanted span) (fresh bool, err error) {
	fresh, err = d.refresh(f, d.span)
	if err != nil || wanted == d.span {
		return fresh, err
	}
	d.mu.Lock()
	next, missing := f.chunks.firstMissing(wanted)
	d.mu.Unlock()
	if !missing {
		return fresh, nil
	}
	others, err := d.refresh(f, span{next, min(next+overlook, wanted.to)})
	return fresh || others, err
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
