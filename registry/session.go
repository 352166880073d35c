package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A session is how a repository is spoken to once it is known: where, and as
// whom. Its client follows redirects.
type session struct {
	base      string // scheme, host, and the path of the API
	client    *http.Client
	challenge *transport.Challenge // what it was made by
	expires   bool                 // it rests on a token, which a new one can follow
	since     time.Time
}

// session returns how to speak to the endpoint about the repository: after one ping
// for the endpoint and, where it wants tokens, one request for a token.
func (l *lane) session(ctx context.Context) (*session, error) {
	return l.admission.get(ctx, func(ctx context.Context) (*session, error) {
		challenge, err := l.contact.get(ctx, l.ping)
		if err != nil {
			return nil, contactError("contact", CanonicalHost(l.host), err)
		}
		ctx, tell := withDetails(ctx)
		header, expires, err := l.authorize(ctx, challenge)
		if err != nil {
			return nil, tell(contactError("authenticate to", strings.TrimSuffix(CanonicalHost(l.host)+"/"+l.path, "/"), err))
		}
		base := &url.URL{Scheme: "https", Host: l.host}
		if challenge.Insecure {
			base.Scheme = "http"
		}
		return &session{
			base:      base.String() + l.root,
			client:    &http.Client{Transport: &authorized{l.steady, base, header}},
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
