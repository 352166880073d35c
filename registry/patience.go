package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// leastBytes is how many bytes have to come in the time that is waited for one: a
// sender of one byte now and then holds nobody for ever.
const leastBytes = 1 << 10

// patientBody is an answer's body that waits a bounded time for each byte, and
// for some answers a bounded time for all of them. It is read by one goroutine
// at a time.
type patientBody struct {
	body     io.ReadCloser
	limit    time.Duration
	timer    *time.Timer // runs while a Read waits
	whole    *time.Timer // runs until Close; nil is without a bound
	stalled  atomic.Bool
	cancel   context.CancelCauseFunc // ends the request
	received func(int)

	waited time.Duration // by Reads, for the last so many bytes
	came   int
}

// newPatientBody waits limit for each byte and whole, where it is not 0, for the
// end.
func newPatientBody(body io.ReadCloser, limit, whole time.Duration, cancel context.CancelCauseFunc, received func(int)) *patientBody {
	b := &patientBody{body: body, limit: limit, cancel: cancel, received: received}
	stall := func() {
		b.stalled.Store(true)
		cancel(ErrStalled)
	}
	b.timer = time.AfterFunc(limit, stall)
	// A body that nobody reads is a reader's slowness, not the registry's.
	b.timer.Stop()
	if whole > 0 {
		b.whole = time.AfterFunc(whole, stall)
	}
	return b
}

func (b *patientBody) Read(p []byte) (int, error) {
	begun := time.Now()
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	b.timer.Stop()
	b.received(n)
	b.waited += time.Since(begun)
	if b.came += n; b.waited >= b.limit {
		if err == nil && b.came < leastBytes {
			b.stalled.Store(true)
			b.cancel(ErrStalled)
			return n, ErrStalled
		}
		b.waited, b.came = 0, 0
	}
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && !b.stalled.Load():
		return n, err
	case b.stalled.Load():
		// The transport may say that the request was cancelled: it was, by us.
		return n, ErrStalled
	case isTransient(err):
		// How a connection broke makes no difference to who goes on where it did.
		return n, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return n, err
}

func (b *patientBody) Close() error {
	b.timer.Stop()
	if b.whole != nil {
		b.whole.Stop()
	}
	err := b.body.Close()
	b.cancel(nil)
	return err
}
