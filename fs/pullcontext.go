package fs

import (
	"context"
	"sync"
	"time"
)

// pullContext is the context of an iteration that several calls drive, one after
// the other: it ends as the context of the call that is driving it does. An
// iteration asks for Done each time it waits, so each wait is the current
// call's.
type pullContext struct {
	mu  sync.Mutex
	now context.Context // guarded by mu
}

var _ context.Context = (*pullContext)(nil)

func newPullContext() *pullContext { return &pullContext{now: context.Background()} }

// lend makes ctx the one that counts.
func (p *pullContext) lend(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = ctx
}

func (p *pullContext) current() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *pullContext) Deadline() (time.Time, bool) { return p.current().Deadline() }
func (p *pullContext) Done() <-chan struct{}       { return p.current().Done() }
func (p *pullContext) Err() error                  { return p.current().Err() }
func (p *pullContext) Value(key any) any           { return p.current().Value(key) }
