package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// contactLimit ends a first contact that hangs; it belongs to no caller.
	contactLimit = 60 * time.Second
	// contactRemembered is how long a failed one answers for the next.
	contactRemembered = time.Second
)

// host is one registry, and how it wants to be authenticated to.
type host struct {
	name     string // canonical, as in references
	registry name.Registry
	contact  contact[*transport.Challenge]
}

// A session is how a repository is spoken to once it is known: where, and as
// whom. Its client follows redirects.
type session struct {
	base      string // scheme and host
	client    *http.Client
	challenge *transport.Challenge // what it was made by
	expires   bool                 // it rests on a token, which a new one can follow
	since     time.Time
}

// contact is something that is learned once, by whoever asks first, for all.
// Who has to wait can leave; a failure is remembered for a moment only.
type contact[T comparable] struct {
	mu      sync.Mutex
	current *attempt[T] // guarded by mu
}

type attempt[T comparable] struct {
	done  chan struct{}
	value T     // set before done is closed
	err   error // the same
	until time.Time
}

func (c *contact[T]) get(ctx context.Context, learn func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	a := c.current
	if a == nil || a.over() {
		a = &attempt[T]{done: make(chan struct{})}
		c.current = a
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), contactLimit)
		go func() {
			defer cancel()
			defer close(a.done)
			defer func() {
				// go-containerregistry parses what strangers send.
				if p := recover(); p != nil {
					a.err = fmt.Errorf("panic: %v", p)
				}
				a.until = time.Now().Add(contactRemembered)
			}()
			a.value, a.err = learn(detached)
		}()
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// forget makes the next caller learn anew, unless what is known is no longer
// value: somebody did so already.
func (c *contact[T]) forget(value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return
	}
	select {
	case <-c.current.done:
		if c.current.value == value {
			c.current = nil
		}
	default: // being learned just now
	}
}

// over says whether the attempt failed and may be made again.
func (a *attempt[T]) over() bool {
	select {
	case <-a.done:
		return a.err != nil && !time.Now().Before(a.until)
	default:
		return false
	}
}

// session returns how to speak to the repository: after one ping for its host
// and, where the host wants tokens, one request for a token.
func (r *Repository) session(ctx context.Context) (*session, error) {
	return r.contact.get(ctx, func(ctx context.Context) (*session, error) {
		challenge, err := r.host.contact.get(ctx, func(ctx context.Context) (*transport.Challenge, error) {
			return transport.Ping(ctx, r.host.registry, brief{r.client.wire})
		})
		if err != nil {
			return nil, contactError("contact", r.host.name, err)
		}
		header, expires, err := r.authorize(ctx, challenge)
		if err != nil {
			return nil, contactError("authenticate to", r.name, err)
		}
		base := &url.URL{Scheme: "https", Host: r.host.registry.RegistryStr()}
		if challenge.Insecure {
			base.Scheme = "http"
		}
		return &session{
			base:      base.String(),
			client:    &http.Client{Transport: &authorized{r.client.wire, base, header}},
			challenge: challenge,
			expires:   expires,
			since:     time.Now(),
		}, nil
	})
}

// brief lets through the beginning of an answer. A ping's is read to its end,
// though nothing in it matters.
type brief struct{ inner http.RoundTripper }

// maxBrief is far above what a token needs.
const maxBrief = 256 << 10

func (b brief) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxBrief), resp.Body}
	return resp, nil
}
