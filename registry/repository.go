package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// A Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	client  *Client         // set once by Client.Repository, as what follows
	host    *host           // shared by the repositories of a host
	name    string          // canonical, with the host
	parsed  name.Repository // the same, as go-containerregistry has it
	contact contact[*session]
	used    atomic.Pointer[credentialsUsed] // last; nil before
}

// Name is the repository with its host, as references have it.
func (r *Repository) Name() string { return r.name }

// Host is the registry.
func (r *Repository) Host() string { return r.host.name }

// path is the repository's name as its registry has it.
func (r *Repository) path() string { return r.parsed.RepositoryStr() }

// at is a reference of the repository for messages.
func (r *Repository) at(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return r.name + "@" + ref
	}
	return r.name + ":" + ref
}

// A question is one request of a repository. Its target is a path, or an address
// that a page of the registry named.
type question struct {
	method, target string
	header         http.Header
	blob           bool // the answer may be long
}

// do sends one request; with a token that has expired, it does so once more with
// a new one.
func (r *Repository) do(ctx context.Context, op, ref string, q question) (*http.Response, error) {
	begun := time.Now()
	for {
		s, err := r.session(ctx)
		if err != nil {
			return nil, r.asked(wrap(op, ref, err))
		}
		resp, err := s.send(ctx, q)
		if err != nil {
			return nil, wrap(op, ref, sendError(ctx, err))
		}
		if resp.StatusCode != http.StatusUnauthorized || !isOwn(resp) {
			return resp, nil
		}
		r.contact.forget(s)
		if !s.expires || !s.since.Before(begun) {
			// The registry means it. What was learned of it may be out of date.
			r.host.contact.forget(s.challenge)
			return resp, nil
		}
		closeBody(resp)
	}
}

func (s *session) send(ctx context.Context, q question) (*http.Response, error) {
	target := q.target
	if strings.HasPrefix(target, "/") {
		target = s.base + target
	}
	if q.blob {
		ctx = context.WithValue(ctx, forBlob{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	return s.client.Do(req)
}

// readLimited reads a body to its end, and is [ErrTooLarge] where that is beyond
// limit.
func readLimited(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, resp.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

// closeBody closes an answer so that its connection can be used again, where
// what is left of it is short.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}
