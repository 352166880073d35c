package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxIdle is how many bodies in a row may end without a chunk. A stream of the
// whole blob counts whatever came of it: each begins at the beginning.
const maxIdle = 3

var (
	// errRangeless is a source that sent the whole blob where a range was asked
	// for.
	errRangeless = errors.New("the source knows no ranges")
	// errAbandoned is a stream of a whole blob that nobody reads any more.
	errAbandoned = errors.New("nobody reads it")
)

// A download fetches the missing chunks of a span.
type download struct {
	*content
	span span // guarded by content.mu, but for the download itself
	all  bool // the same; the whole blob, since its source knows no ranges
	held span // guarded by content.mu; what is leased
	// ready tells who asked ahead that it is time for the next; nil where nobody
	// did.
	ready    func()
	signaled sync.Once

	body io.ReadCloser // of the whole blob, which came for a range and is gone on with
	idle int           // bodies in a row that brought nothing
	pace pace          // of the body that is being read
}

// signal calls ready, the first time. No mutex is held.
func (d *download) signal() {
	if d.ready != nil {
		d.signaled.Do(d.ready)
	}
}

// run fetches until nothing is missing. A panic in a Fetcher is an error of the
// download.
func (d *download) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	defer d.dropBody()
	for range maxHeals {
		switch err := d.once(ctx); {
		case errors.Is(err, errMoved):
		case errors.Is(err, errYielded):
			return nil
		case errors.Is(err, errRangeless):
			if !d.takeAll() {
				return nil
			}
		default:
			return err
		}
	}
	return d.store.onDisk(errUnsound)
}

// once leases the span and fetches what is missing of it.
func (d *download) once(ctx context.Context) error {
	if err := d.await(ctx); err != nil {
		return err
	}
	// Before anything is asked for that cannot be kept.
	if err := d.admit(d.current(), chunkSize); err != nil {
		return d.store.onDisk(err)
	}
	f, unlock, err := d.lease(ctx)
	if err != nil {
		return err
	}
	defer unlock() // whatever happens, a panic included: other processes wait for it
	return d.fill(ctx, f)
}

// fill fetches what is missing of a form that was leased.
func (d *download) fill(ctx context.Context, f *form) error {
	var last error
	for {
		if err := d.settle(ctx, f); err != nil {
			return err
		}
		run, ok := d.remaining(f)
		if !ok {
			return nil
		}
		if d.idle >= maxIdle {
			if last == nil {
				last = fmt.Errorf("%w: it ends before its %d bytes", ErrMismatch, d.key.size)
			}
			return last
		}
		progress, err := d.stream(ctx, f, run)
		switch {
		case errors.Is(err, errAbandoned):
			return nil
		case ctx.Err() != nil:
			return errClosed
		case errors.Is(err, errMoved), errors.Is(err, errRangeless), errors.Is(err, errUnkept):
			return err
		case !progress && err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			return err
		case progress && !d.all:
			d.idle = 0 // whatever ended it, go on where it ended
		default:
			d.idle++
		}
		last = err
	}
}

// remaining returns the first run of the span that is still missing. Chunks
// that only wait for the digest to be checked are not.
func (d *download) remaining(f *form) (span, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sealing {
		return span{}, false
	}
	from, missing := f.chunks.firstMissing(d.span)
	if !missing {
		return span{}, false
	}
	to := from
	for to < d.span.to && (d.all || !f.chunks.has(to)) {
		to++
	}
	return span{from, to}, true
}

// stream asks for a run and stores what comes. progress says whether a chunk
// came that was missing. A body that ends early is io.ErrUnexpectedEOF, or no
// error where its sender said so.
func (d *download) stream(ctx context.Context, f *form, run span) (progress bool, err error) {
	off, end := run.bytes(d.key.size)
	d.pace.ask(end - off)
	body, start, err := d.request(ctx, f, off, end-off)
	if err != nil {
		return false, err
	}
	defer func() {
		if d.body == nil { // it is not kept for later
			_ = body.Close() // all that is needed was read, or its error is known
		}
	}()
	whole := start != off || isWhole(body)
	d.store.note(d.key.repository, body, whole)
	switch {
	case !whole:
		d.knowsRanges(f)
	case start != 0:
		return false, fmt.Errorf("%w: asked for bytes at %d, got those at %d", ErrMismatch, off, start)
	case !d.all:
		if !d.sendsAll() {
			d.body = body
			return false, errRangeless
		}
		d.pace.left, end = d.key.size, d.key.size
	}
	off = start
	return d.storeBody(ctx, f, body, off, end-off)
}

// storeBody reads n bytes that belong at off, which is where a chunk begins, and
// stores each chunk as soon as it is complete.
func (d *download) storeBody(ctx context.Context, f *form, body io.Reader, off, n int64) (progress bool, err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	b, have := *buffer, 0
	body = io.LimitReader(body, n)
	for {
		if d.all && d.store.abandoned(d.content) {
			return progress, errAbandoned
		}
		m, readErr := body.Read(b[have:])
		d.store.counts.fetched.Add(int64(m))
		if have += m; d.pace.come(m) {
			d.signal()
		}
		full := have / chunkSize * chunkSize
		if off+int64(have) == d.key.size {
			full = have
		}
		if full > 0 {
			fresh, err := d.put(ctx, f, b[:full], off)
			progress = progress || fresh
			if err != nil {
				return progress, err
			}
			off += int64(full)
			have = copy(b, b[full:have])
		}
		if readErr == io.EOF {
			return progress, nil
		}
		if readErr != nil {
			return progress, readErr
		}
	}
}
