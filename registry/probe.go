package registry

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// An Endpoint is where the requests for a registry go at first.
type Endpoint struct {
	Address string   // "host:port"
	Proxy   *url.URL // nil is none; else the address may mean nothing here
	// MayBePlain says that it may be spoken to without TLS, or with a certificate
	// that cannot be verified (Unverified).
	MayBePlain, Unverified bool
}

// Endpoint returns the endpoint of a host, as in references, that is asked when its
// mirrors have no answer. It asks nobody.
func (c *Client) Endpoint(ctx context.Context, host string) (Endpoint, error) {
	l, err := c.probed(ctx, host)
	if err != nil {
		return Endpoint{}, err
	}
	at := &url.URL{Scheme: "https", Host: l.host}
	e := Endpoint{
		Address:    net.JoinHostPort(at.Hostname(), cmp.Or(at.Port(), "443")),
		MayBePlain: c.wire.isInsecure(at.Host) || isLoopback(at.Hostname()) || l.config.scheme == "http",
		Unverified: c.wire.isInsecure(at.Host) || l.config.skipVerify,
	}
	if proxy := cmp.Or(l.way.own, c.wire.verified).documents.Proxy; proxy != nil {
		if e.Proxy, err = proxy(&http.Request{URL: at}); err != nil {
			return Endpoint{}, err
		}
	}
	return e, nil
}

// A Probe is how a registry let its caller in.
type Probe struct {
	Base        string // scheme and host
	Scheme      string // of its challenge, in lower case: "bearer", "basic"; "" is open to all
	TokenServer string // for bearer
	// Source is where the credentials came from, and Failure what kept those that
	// are configured from being had.
	Source  Source
	Failure error
}

// probedName names a repository that nobody is asked about: credentials are looked up
// by repository.
const probedName = "probe"

// probed returns the lane of the registry itself.
func (c *Client) probed(ctx context.Context, host string) (*lane, error) {
	r, err := c.Repository(host + "/" + probedName)
	if err != nil {
		return nil, err
	}
	all, err := r.lanes(ctx)
	if err != nil {
		return nil, err
	}
	return all[len(all)-1], nil
}

// Probe asks a registry to be let in, as docker login does: it pings, gets a token
// that is for no repository where there are any, and pings again with what it has
// then. It returns what it learned before an error, which is an [Error]; a 401 in
// one is about the credentials, or that there are none.
func (c *Client) Probe(ctx context.Context, host string) (Probe, error) {
	l, err := c.probed(ctx, host)
	if err != nil {
		return Probe{}, err
	}
	challenge, err := l.ping(ctx)
	if err != nil {
		return Probe{}, contactError("contact", host, err)
	}
	base := &url.URL{Scheme: "https", Host: l.host}
	if challenge.Insecure {
		base.Scheme = "http"
	}
	p := Probe{Base: base.String(), Scheme: strings.ToLower(challenge.Scheme)}
	var config authn.AuthConfig
	config, p.Source, p.Failure = c.credentials(ctx, l.parsed)
	header := basic(config)
	switch {
	case p.Scheme == "":
		return p, nil
	case config.RegistryToken != "":
		header = "Bearer " + config.RegistryToken
	case p.Scheme == "bearer":
		at, err := l.tokenServer(challenge)
		if err != nil {
			return p, contactError("authenticate to", host, err)
		}
		if realm, err := url.Parse(challenge.Parameters["realm"]); err == nil {
			p.TokenServer = realm.Host
		}
		token, err := transport.Exchange(ctx, at, authn.FromConfig(config), l.brief, nil, challenge)
		if err != nil {
			return p, contactError("authenticate to", host, tokenError(err))
		}
		header = "Bearer " + cmp.Or(token.AccessToken, token.Token)
	}
	if err := l.pingAs(ctx, base, header); err != nil {
		return p, contactError("authenticate to", host, err)
	}
	return p, nil
}

// pingAs pings with a header of Authorization.
func (l *lane) pingAs(ctx context.Context, base *url.URL, header string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(l.root, "/").String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &authorized{l.brief, base, header}}
	resp, err := client.Do(req)
	if err != nil {
		return sendError(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what matters was read
	if resp.StatusCode == http.StatusOK {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return transport.CheckError(resp, http.StatusOK)
}
