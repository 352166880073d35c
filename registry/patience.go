package registry

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

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
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	b.timer.Stop()
	b.received(n)
	if err != nil && err != io.EOF && b.stalled.Load() {
		// The transport may say that the request was cancelled: it was, by us.
		err = ErrStalled
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
