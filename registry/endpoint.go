package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// An endpoint is where what a registry has may be asked for: the registry itself,
// or a mirror of it. What is learned of it and who it takes us for is its own.
type endpoint struct {
	config   endpointConfig // set once by newEndpoint, as what follows
	host     string         // as in its addresses
	root     string         // the path of its API, such as "/v2"
	registry name.Registry  // whose credentials it is asked with
	mirrored string         // the registry that it is asked for, where it is another one: ns
	way      *way
	// steady is over the way, and brief the same for what is of no length.
	steady, brief *steady

	contact contact[*transport.Challenge]
	rest    rest
	without lack // of a referrers API
}

// newEndpoint makes an endpoint of a registry's host, to which requests are repeated
// so often. Certificates that cannot be read are its errors.
func (c *Client) newEndpoint(host string, config endpointConfig, retries int) (*endpoint, error) {
	w := c.wire
	e := &endpoint{config: config, host: config.host, root: config.root}
	if e.host == "" {
		e.host, e.root = host, "/v2"
	}
	var options []name.Option
	// Who really may be spoken to without TLS, the wire decides: by itself,
	// go-containerregistry would try that on private addresses too, and on
	// loopback only by some of its names.
	if !e.isFixed() && (config.scheme != "" || w.isInsecure(e.host) || isLoopback((&url.URL{Host: e.host}).Hostname())) {
		options = append(options, name.Insecure)
	}
	var err error
	if e.registry, err = name.NewRegistry(CanonicalHost(e.host), options...); err != nil {
		return nil, err
	}
	if e.host == DockerHub {
		e.host = e.registry.RegistryStr() // docker.io itself is none
	}
	if CanonicalHost(config.host) != host && config.host != "" {
		e.mirrored = host
	}
	if e.way, err = w.way(e.host, config); err != nil {
		return nil, err
	}
	e.steady, e.brief = c.over(e.way, retries), c.over(brief{e.way}, retries)
	return e, nil
}

// passOn has nobody wait until the endpoint wants to be asked again: there is a next one.
func (e *endpoint) passOn() { e.steady.passesOn, e.brief.passesOn = true, true }

// name is the endpoint for messages about mirrors.
func (e *endpoint) name() string {
	if e.config.scheme == "" {
		return e.host
	}
	return e.config.scheme + "://" + e.host + strings.TrimSuffix(e.root, "/v2")
}

// repository is the name by which the endpoint has a repository, for tokens and
// credentials: some mirrors keep each registry in a path of its own.
func (e *endpoint) repository(path string) name.Repository {
	if project, ok := strings.CutPrefix(e.root, "/v2/"); ok {
		return e.registry.Repo(project, path)
	}
	return e.registry.Repo(path)
}

// target adds to a path, or the address of a page, what tells a mirror whose
// content is asked for (as containerd does).
func (e *endpoint) target(target string) string {
	u, err := url.Parse(target)
	if e.mirrored == "" || err != nil || u.Query().Has("ns") {
		return target
	}
	query := u.Query()
	query.Set("ns", e.mirrored)
	u.RawQuery = query.Encode()
	return u.String()
}

// isFixed says whether the scheme is what is configured and no other. As containerd
// does, http:// is tried with TLS first where something is said of that.
func (e *endpoint) isFixed() bool {
	return e.config.scheme == "https" || e.config.scheme == "http" && !e.config.ownTLS()
}

// ping learns how the endpoint wants to be authenticated to, and over which
// scheme it speaks.
func (e *endpoint) ping(ctx context.Context) (*transport.Challenge, error) {
	at := e.registry
	if e.isFixed() {
		// One that go-containerregistry asks once, whatever it would try at this address;
		// rooted says where.
		var err error
		if at, err = name.NewRegistry("registry.invalid"); err != nil {
			return nil, err
		}
	}
	ctx, tell := withDetails(ctx)
	challenge, err := ping(ctx, at, noting{rooted{e}})
	var answered *transport.Error
	var sent *url.Error
	switch {
	case errors.As(err, &answered) && answered.StatusCode == http.StatusNotFound && e.config.host != "":
		// containerd does not ask: what has no such page is open to it.
		return &transport.Challenge{Insecure: answered.Request.URL.Scheme == "http"}, nil
	case e.isFixed() && errors.As(err, &sent):
		err = sent.Err // it was not sent to the address that it tells
	}
	if err != nil {
		return nil, tell(contactError("contact", CanonicalHost(e.host), err))
	}
	return challenge, nil
}

// rooted leads a ping to where the endpoint has its API.
type rooted struct{ *endpoint }

func (r rooted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Response == nil { // else a redirect said where
		req = req.Clone(req.Context())
		if r.isFixed() {
			req.URL.Scheme = r.config.scheme
		}
		req.URL.Host, req.Host = r.host, ""
		req.URL.Path = r.root + "/"
	}
	return r.brief.RoundTrip(req)
}
