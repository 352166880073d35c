package cache

import (
	"context"
	"io"
	"time"
)

// Whether a source knows ranges is not known before it has sent one. So the first
// download of a blob asks alone, with a lease of all of it, and the others wait for
// the head of its answer. If that is a range, they ask for theirs; if it is the whole
// blob, the first goes on with it to the end, and nobody asks again. It is so with each
// blob, since a cache that pulls through sends ranges of what it has, and all of what it
// does not have yet, which it fetches once more for each that asks meanwhile; only where
// the source says that it sends ranges of every blob, with the first of a repository.
//
// The lease tells other processes: of a blob that somebody has only a part of, ranges
// are known.

const (
	// maxProbe is how long the others wait. It is less than maxLease, so that no
	// process takes another for one that is stopped whose source only is silent.
	maxProbe = 3 * time.Second
	// maxHold is how long a body of the whole blob waits for the lease of it. Its
	// sender waits meanwhile.
	maxHold = time.Second
)

// await waits until a download may ask: it is the first, or how that was answered is
// known. A failure of the first answers for all who wait, but what was only wanted ahead
// fails for nobody who needs it. Where somebody brings the same, or it cannot be kept
// for now, it is errYielded.
func (d *download) await(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := d.failures
	for waited := false; ; waited = true {
		switch _, missing := d.form.chunks.firstMissing(d.span); {
		case d.all || d.ranges:
			return nil
		case waited && (d.failures != seen || d.ready != nil && d.failure.failing()):
			return d.failure.err
		case !missing || d.isUnkept() || d.rangeless && !d.extend():
			return errYielded
		case d.rangeless:
			return nil
		case d.prober == nil && d.store.expectsRanges(d.key.repository):
			d.ranges = true
			return nil
		case d.prober == nil || d.prober == d:
			d.prober = d
			return nil
		}
		changed := d.changed
		d.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = errClosed
		}
		d.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// extend makes a download one of the whole blob, unless another is. c.mu is held.
func (d *download) extend() bool {
	d.ranges, d.rangeless = false, true
	if d.prober == d {
		d.prober = nil
	}
	for _, other := range d.downloads {
		if other.all {
			return other == d
		}
	}
	d.span, d.all = span{0, d.form.chunks.n}, true
	d.wake()
	return true
}

// leaseSpan is what a download needs a lease of.
func (d *download) leaseSpan() span {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prober == d {
		return span{0, d.form.chunks.n}
	}
	return d.span
}

// request asks for n bytes at off, or returns the body of the whole blob that came
// before.
func (d *download) request(ctx context.Context, f *form, off, n int64) (body io.ReadCloser, start int64, err error) {
	if body, d.body = d.body, nil; body != nil {
		return body, 0, nil
	}
	d.mu.Lock()
	probes := d.prober == d
	d.mu.Unlock()
	if !probes {
		return d.from.BlobRange(ctx, d.key.digest, off, n)
	}
	done := make(chan struct{})
	late := time.AfterFunc(maxProbe, func() {
		defer close(done)
		d.knowsRanges(f) // or will be found not to, by several
	})
	defer func() {
		if !late.Stop() {
			<-done
		}
	}()
	return d.from.BlobRange(ctx, d.key.digest, off, n)
}

// knowsRanges takes note that the source does. The first download gives back the lease
// of all but its span before others ask for a lease.
func (d *download) knowsRanges(f *form) {
	d.mu.Lock()
	held, own, probes := d.held, d.span, d.prober == d
	d.mu.Unlock()
	if probes {
		for _, s := range []span{{held.from, own.from}, {own.to, held.to}} {
			if at, n := recordRange(s); held.len() > 0 && n > 0 {
				_ = unlockRange(f.mapping, at, n) // closed by then, it is unlocked as well
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if probes {
		d.prober = nil
		if d.held.len() > 0 {
			d.held = own
		}
	}
	if !d.ranges && !d.rangeless {
		d.ranges = true
		d.wake()
	}
}

// sendsAll takes note that the whole blob comes, and says whether the download has
// the lease for it and goes on with it.
func (d *download) sendsAll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held == span{0, d.form.chunks.n} && d.extend()
}

// otherHasRanges says whether another process has some of a blob that nothing is known
// of here, but not all: it was answered with ranges.
func (d *download) otherHasRanges(f *form, s span) bool {
	d.mu.Lock()
	probes := d.prober == d
	d.mu.Unlock()
	if !probes {
		return false
	}
	at, n := recordRange(s)
	start, length, err := lockedBy(f.mapping, at, n)
	if err != nil || length == 0 || start <= at && start+length >= at+n {
		return false
	}
	d.knowsRanges(f)
	return true
}

// dropBody closes a body that cannot be gone on with.
func (d *download) dropBody() {
	if d.body != nil {
		_ = d.body.Close() // what comes of it is of no use
		d.body = nil
	}
}
