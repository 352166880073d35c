package registry

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
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

// A session is how a repository is spoken to once it is known: where, and with
// which token. Its client follows redirects.
type session struct {
	base   string // scheme and host
	client *http.Client
}

// contact is something that is learned once, by whoever asks first, for all.
// Who has to wait can leave; a failure is remembered for a moment only.
type contact[T any] struct {
	mu      sync.Mutex
	current *attempt[T] // guarded by mu
}

type attempt[T any] struct {
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
			a.value, a.err = learn(detached)
			a.until = time.Now().Add(contactRemembered)
			close(a.done)
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

// forget makes the next caller learn anew.
func (c *contact[T]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		select {
		case <-c.current.done:
			c.current = nil
		default: // being learned just now
		}
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
			return transport.Ping(ctx, r.host.registry, r.client.wire)
		})
		if err != nil {
			return nil, wrap("contact", r.host.name, err)
		}
		auth := r.client.credentials(ctx, r)
		tripper, err := r.authenticated(ctx, auth, challenge)
		if err != nil {
			return nil, wrap("authenticate to", r.name, err)
		}
		scheme := "https"
		if challenge.Insecure {
			scheme = "http"
		}
		return &session{
			base:   scheme + "://" + r.host.registry.RegistryStr(),
			client: &http.Client{Transport: tripper, CheckRedirect: checkRedirect},
		}, nil
	})
}

func (r *Repository) authenticated(ctx context.Context, auth authn.Authenticator, challenge *transport.Challenge) (http.RoundTripper, error) {
	token := &transport.Token{}
	if strings.EqualFold(challenge.Scheme, "bearer") {
		var err error
		scope := r.parsed.Scope(transport.PullScope)
		token, err = transport.Exchange(ctx, r.host.registry, auth, r.client.wire, []string{scope}, challenge)
		if err != nil {
			return nil, err
		}
	}
	return transport.FromToken(r.host.registry, auth, r.client.wire, challenge, token)
}
