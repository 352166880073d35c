package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
)

const (
	// requestLimit ends a request for a manifest that hangs.
	requestLimit = 60 * time.Second
	// absentFor is how long a name that the registry does not have is not asked
	// for again.
	absentFor = 5 * time.Second
	// failedFor is how long a failure answers for the next request: a storm of
	// lookups must not become a storm of requests.
	failedFor = time.Second
	// rememberedFailures bounds what is remembered of either.
	rememberedFailures = 4096
)

var errClosed = errors.New("the tree is closed")

// flights asks each question once at a time, for all who wait for its answer,
// and remembers for a moment what went wrong. The request belongs to nobody:
// it goes on when the one who asked first has left.
type flights struct {
	tree *Tree

	mu     sync.Mutex
	inAir  map[string]*flight // guarded by mu
	failed map[string]failure // guarded by mu
}

// A flight is one request; what it found is set before done is closed.
type flight struct {
	done   chan struct{}
	answer resolution
	err    error
}

// A resolution is a manifest, and for how long it answers the question.
type resolution struct {
	manifest cache.Manifest
	until    time.Time
}

type failure struct {
	err   error
	until time.Time
}

func newFlights(t *Tree) *flights {
	return &flights{tree: t, inAir: map[string]*flight{}, failed: map[string]failure{}}
}

// ask returns the answer of work, or of the same question that is in the air or
// failed a moment ago.
func (f *flights) ask(ctx context.Context, question string, work func(context.Context) (resolution, error)) (resolution, error) {
	f.mu.Lock()
	if before, ok := f.failed[question]; ok {
		if f.tree.opts.Now().Before(before.until) {
			f.mu.Unlock()
			return resolution{}, before.err
		}
		delete(f.failed, question)
	}
	asked, ok := f.inAir[question]
	if !ok {
		asked = &flight{done: make(chan struct{})}
		if !f.tree.detach(ctx, requestLimit, func(ctx context.Context) { f.run(ctx, question, asked, work) }) {
			f.mu.Unlock()
			return resolution{}, errClosed
		}
		f.inAir[question] = asked
	}
	f.mu.Unlock()
	select {
	case <-asked.done:
		return asked.answer, asked.err
	case <-ctx.Done():
		return resolution{}, context.Cause(ctx)
	}
}

func (f *flights) run(ctx context.Context, question string, asked *flight, work func(context.Context) (resolution, error)) {
	defer func() {
		if p := recover(); p != nil {
			asked.err = fmt.Errorf("%s: panic: %v", question, p)
		}
		f.mu.Lock()
		delete(f.inAir, question)
		if asked.err != nil {
			f.remember(question, asked.err)
		}
		f.mu.Unlock()
		close(asked.done)
	}()
	asked.answer, asked.err = work(ctx)
}

// remember keeps a failure. f.mu is held.
func (f *flights) remember(question string, err error) {
	if len(f.failed) >= rememberedFailures {
		clear(f.failed) // costs a few requests, keeps memory bounded
	}
	last := failedFor
	if errors.Is(err, iofs.ErrNotExist) {
		last = absentFor
	}
	f.failed[question] = failure{err, f.tree.opts.Now().Add(last)}
}
