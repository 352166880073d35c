package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrDown is a host that is not asked for a moment, since it did not answer several
// times in a row. It comes with what it did not answer by.
var ErrDown = errors.New("the host is down")

const (
	// downAfter is how many requests in a row find nobody before a host is down.
	downAfter = 5
	// firstProbe is how long it is left alone then, twice as long each time that one
	// request more found nobody, and maxProbe at most: so soon it is noticed that it
	// is back.
	firstProbe = time.Second
	maxProbe   = 10 * time.Second
)

// An outcome is what a request said about its host.
type outcome int

const (
	unclear     outcome = iota // nothing, such as one whose caller left
	answered                   // that somebody is there, whatever the answer was
	unreachable                // that nobody is
)

func outcomeOf(ctx context.Context, err error) outcome {
	switch {
	case err == nil:
		return answered
	case ctx.Err() != nil || isFinal(err):
		return unclear
	case isUnreachable(err):
		return unreachable
	}
	return answered // and hung up, or spoke another protocol
}

// A breaker keeps requests from a host that is down, so that they fail at once and
// not each after half a minute. One is let through now and then, to see; an
// answer of any kind says that the host is up. It is safe for concurrent use.
type breaker struct {
	host string // for messages

	mu       sync.Mutex
	failures int           // guarded by mu, as what follows; in a row
	since    time.Time     // of the first of them
	last     error         // of the last of them
	rest     time.Duration // 0 while the host is not down
	until    time.Time     // when the next request is let through
	probing  bool          // it is on its way
	tripped  chan struct{} // closed while the host is down
}

func newBreaker(host string) *breaker { return &breaker{host: host, tripped: make(chan struct{})} }

// enter says whether a request may be sent, and whether it is the one that is to
// find out. Each one that may be is followed by leave.
func (b *breaker) enter(now time.Time) (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rest == 0 {
		return false, nil
	}
	if b.probing || now.Before(b.until) {
		return false, &downError{b.host, b.since, b.last}
	}
	b.probing = true
	return true, nil
}

func (b *breaker) leave(probe bool, o outcome, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case o == unclear:
	case o == answered:
		if b.rest > 0 {
			b.rest, b.tripped = 0, make(chan struct{})
		}
		b.failures = 0
	case b.rest > 0 && !probe: // it was on its way before
	default:
		if b.failures++; b.failures == 1 {
			b.since = now
		}
		b.last = err
		switch {
		case b.rest > 0:
			b.rest = min(2*b.rest, maxProbe)
			b.until = now.Add(b.rest)
		case b.failures >= downAfter:
			b.rest = firstProbe
			b.until = now.Add(b.rest)
			close(b.tripped)
		}
	}
}

// down says whether the host is, and since when.
func (b *breaker) down() (since time.Time, down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.rest > 0
}

// gone is closed while, or as soon as, the host is down.
func (b *breaker) gone() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tripped
}

// refusal is the error of a request that is not sent.
func (b *breaker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &downError{b.host, b.since, b.last}
}

// downError is an [ErrDown], and the error of the last request that was sent.
type downError struct {
	host  string
	since time.Time
	last  error
}

func (e *downError) Error() string {
	return fmt.Sprintf("%s is down since %s and soon asked again: %v", e.host, e.since.Format(time.DateTime), e.last)
}

func (e *downError) Unwrap() []error { return []error{ErrDown, e.last} }
