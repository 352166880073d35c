package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// requestLimit ends a request for a manifest that hangs.
	requestLimit = 60 * time.Second
	// absentFor is how long a name that the registry does not have is not asked
	// for again.
	absentFor = 5 * time.Second
	// failedFor is how long a failure answers for the next request: a storm of
	// lookups must not become a storm of requests.
	failedFor = 2 * time.Second
	// rememberedFailures bounds how many of either are remembered. One that is
	// forgotten costs a request.
	rememberedFailures = 4096
)

var (
	errClosed   = errors.New("the tree is closed")
	errUnwanted = errors.New("nobody waits for it")
)

// flights asks each question once at a time, for all who wait for its answer,
// and remembers for a moment what went wrong. The request belongs to nobody:
// it goes on when the one who asked first has left.
type flights struct {
	tree *Tree

	mu     sync.Mutex
	inAir  map[string]*flight              // guarded by mu
	failed *simplelru.LRU[string, failure] // guarded by mu
}

// A flight is one request; what it found is set before done is closed.
type flight struct {
	done   chan struct{}
	answer resolution
	err    error
}

// A resolution is a manifest, or what refers to one, and for how long it answers the
// question.
type resolution struct {
	manifest  cache.Manifest
	until     time.Time
	referrers []cache.Referrer // never changed
}

// A failure is why a question has no answer, since when and for how long.
type failure struct {
	err   error
	since time.Time
	lasts time.Duration
}

func newFlights(t *Tree) *flights {
	failed, err := simplelru.NewLRU[string, failure](rememberedFailures, nil)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return &flights{tree: t, inAir: map[string]*flight{}, failed: failed}
}

// ask returns the answer of work, or of the same question that is in the air or
// failed a moment ago. Work looks first at what is known: the flight before it
// may have landed since its caller did.
func (f *flights) ask(ctx context.Context, question string, work func(context.Context) (resolution, error)) (resolution, error) {
	f.mu.Lock()
	if before, ok := f.failed.Get(question); ok {
		if within(before.since, f.tree.now(), before.lasts) {
			f.mu.Unlock()
			return resolution{}, before.err
		}
		f.failed.Remove(question)
	}
	asked, ok := f.inAir[question]
	if !ok {
		asked = &flight{done: make(chan struct{})}
		if !f.tree.detach(requestLimit, nil, func(ctx context.Context) { f.run(ctx, question, asked, work) }) {
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
		if f.inAir[question] == asked { // not forgotten meanwhile
			delete(f.inAir, question)
			if asked.err != nil {
				f.remember(question, asked.err)
			}
		}
		f.mu.Unlock()
		close(asked.done)
	}()
	asked.answer, asked.err = work(ctx)
}

// remember keeps a failure. f.mu is held.
func (f *flights) remember(question string, err error) {
	lasts := failedFor
	if isAbsent(err) {
		lasts = absentFor
	}
	f.failed.Add(question, failure{err, f.tree.now(), lasts})
}

// forget makes the next to ask about something in the scope ask anew. Those who
// wait for an answer get it.
func (f *flights) forget(s scope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.inAir, func(question string, _ *flight) bool { return s.asks(question) })
	for _, question := range f.failed.Keys() {
		if s.asks(question) {
			f.failed.Remove(question)
		}
	}
}

// isAbsent says whether err is the registry's word that something is not there.
// That a file of this machine is missing, such as a credential helper, is not.
func isAbsent(err error) bool {
	var answered *registry.Error
	return errors.As(err, &answered) && answered.Is(iofs.ErrNotExist)
}
