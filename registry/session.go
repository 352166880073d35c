package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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

// session returns how to speak to the repository: after one ping for its host
// and, where the host wants tokens, one request for a token.
func (r *Repository) session(ctx context.Context) (*session, error) {
	return r.contact.get(ctx, func(ctx context.Context) (*session, error) {
		challenge, err := r.host.contact.get(ctx, func(ctx context.Context) (*transport.Challenge, error) {
			ctx, tell := withDetails(ctx)
			challenge, err := ping(ctx, r.host.registry, noting{r.client.brief})
			if err != nil {
				return nil, tell(contactError("contact", r.host.name, err))
			}
			return challenge, nil
		})
		if err != nil {
			return nil, contactError("contact", r.host.name, err)
		}
		ctx, tell := withDetails(ctx)
		header, expires, err := r.authorize(ctx, challenge)
		if err != nil {
			return nil, tell(contactError("authenticate to", r.name, err))
		}
		base := &url.URL{Scheme: "https", Host: r.host.registry.RegistryStr()}
		if challenge.Insecure {
			base.Scheme = "http"
		}
		return &session{
			base:      base.String(),
			client:    &http.Client{Transport: &authorized{r.client.steady, base, header}},
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
