package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ping asks a registry how it wants to be authenticated to. One that may be spoken
// to without TLS is tried so too; where it answered TLS in plain HTTP, why that
// failed is the error, and not that it speaks no TLS.
func ping(ctx context.Context, reg name.Registry, inner http.RoundTripper) (*transport.Challenge, error) {
	t := &tries{inner: inner, errs: map[string]error{}}
	challenge, err := transport.Ping(ctx, reg, t)
	if err == nil {
		return challenge, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var record tls.RecordHeaderError // what an http.Client makes ErrSchemeMismatch of
	if plain := t.errs["http"]; plain != nil && errors.As(t.errs["https"], &record) {
		return nil, plain
	}
	return nil, err
}

// tries remembers why the last request of each scheme got no answer.
type tries struct {
	inner http.RoundTripper

	mu   sync.Mutex
	errs map[string]error // guarded by mu
}

func (t *tries) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.inner.RoundTrip(req)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs[req.URL.Scheme] = err
	return resp, err
}
