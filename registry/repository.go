package registry

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// A Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	client *Client         // set once by Client.Repository, as what follows
	host   *host           // shared by the repositories of a host
	name   string          // canonical, with the host
	parsed name.Repository // the same, as go-containerregistry has it

	mu    sync.Mutex
	route *route          // guarded by mu; that the lanes are of, nil before that is known
	known []*lane         // guarded by mu; where it may be asked for
	wrong map[Digest]bool // guarded by mu; blobs that were not what their digest says
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

// A question is one request about a repository. Its target is a path below that of
// the API, or an address that a page of the registry named.
type question struct {
	method, target string
	header         http.Header
	blob           bool // the answer may be long
	stays          bool // a redirect to another host is the answer, and not followed
}

// do sends one request; with a token that has expired, it does so once more with
// a new one, and once more when a redirect led to an address that is not good any
// more. Below it, steady repeats what a connection or the host failed.
func (l *lane) do(ctx context.Context, op, ref string, q question) (*http.Response, error) {
	q.target = l.target(q.target)
	begun := time.Now()
	renewed := false
	for {
		s, err := l.session(ctx)
		if err != nil {
			return nil, l.asked(wrap(op, ref, err))
		}
		resp, err := s.send(ctx, q)
		if err != nil {
			return nil, wrap(op, ref, sendError(ctx, err))
		}
		if isOutOfDate(resp) && !renewed {
			renewed = true
			closeBody(resp)
			continue
		}
		if resp.StatusCode != http.StatusUnauthorized || !isOwn(resp) {
			resp.Body = l.watched(ctx, resp.Body)
			return resp, nil
		}
		l.admission.forget(s)
		if !s.expires || !s.since.Before(begun) {
			// The registry means it. What was learned of it may be out of date.
			l.contact.forget(s.challenge)
			return resp, nil
		}
		closeBody(resp)
	}
}

// isOutOfDate says whether a store of blobs refused an address that the registry
// signed: it may have been kept by a proxy until it expired.
func isOutOfDate(resp *http.Response) bool {
	return (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) && !isOwn(resp)
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
	client := *s.client
	if q.stays {
		client.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
			if next.URL.Host != req.URL.Host {
				return http.ErrUseLastResponse
			}
			return nil
		}
	}
	return client.Do(req)
}

// readLimited reads a body to its end, and is [ErrTooLarge] where that is beyond
// limit. Nobody is asked to compress, but some do; what they say of the length is
// then not that of the bytes.
func readLimited(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, resp.ContentLength)
	}
	body := io.Reader(resp.Body)
	switch coding := strings.ToLower(resp.Header.Get("Content-Encoding")); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		zipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrProtocol, err)
		}
		body, resp.ContentLength = zipped, -1
	default:
		return nil, fmt.Errorf("%w: Content-Encoding %.80q", ErrProtocol, coding)
	}
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
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
