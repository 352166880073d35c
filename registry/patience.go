package registry

import (
	"context"
	"errors"
	"io"
	"time"
)

// patientBody is an answer's body that waits a bounded time for each byte. It
// is read by one goroutine at a time.
type patientBody struct {
	body     io.ReadCloser
	limit    time.Duration
	timer    *time.Timer
	cancel   context.CancelCauseFunc // ends the request
	received func(int)
}

func newPatientBody(body io.ReadCloser, limit time.Duration, cancel context.CancelCauseFunc, received func(int)) *patientBody {
	b := &patientBody{body: body, limit: limit, cancel: cancel, received: received}
	b.timer = time.AfterFunc(limit, func() { cancel(ErrStalled) })
	// A body that nobody reads is a reader's slowness, not the registry's.
	b.timer.Stop()
	return b
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	fired := !b.timer.Stop()
	b.received(n)
	if fired && err != nil && err != io.EOF && errors.Is(err, context.Canceled) {
		err = ErrStalled
	}
	return n, err
}

func (b *patientBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}
