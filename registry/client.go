// Package registry is a client of OCI registries for those who read: tags by
// pages, manifests verified against their digest, blobs by range.
//
// A [Client] lives as long as the process: it keeps connections, learns once
// how a host authenticates and reuses tokens. Everything that a registry sends
// is taken for hostile: its sizes are limited, its digests computed, its
// redirects followed without credentials, and not everywhere.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

type (
	// A Digest names content, as go-containerregistry has it.
	Digest = v1.Hash
	// A Descriptor says what some content is and how long, in the same words.
	Descriptor = v1.Descriptor
)

// Options are what a [Client] is made of. The zero value works.
type Options struct {
	// Keychain has the credentials. Nil is what docker and podman are configured
	// with; a credential helper that fails is a warning, and no credentials.
	Keychain authn.Keychain
	// Proxy takes every request, those to loopback too. Nil is what the
	// environment says.
	Proxy *url.URL
	// CustomClient makes an http.Client that heeds no environment, and says so in
	// its User-Agent.
	CustomClient bool
	// RootCAs are the authorities trusted; nil are the system's.
	RootCAs *x509.CertPool
	// Insecure are the hosts, as in a reference, that may be plain HTTP or have a
	// certificate that cannot be verified. Loopback may be plain HTTP anyway.
	Insecure []string
	// HostsDirs are directories with what is configured of hosts: hosts.toml of
	// containerd, or certificates as docker has them. The first that says something of a
	// host counts. What is said of it is read when it is first used, and when it changed.
	HostsDirs []string
	// Certificates are the client's own, by the host that they are shown to.
	Certificates map[string][]tls.Certificate
	// AllowHosts are the hosts, or patterns for them as path.Match has them, that may be
	// contacted as registries; nil are all. Mirrors, and where an allowed registry
	// sends for tokens and blobs, need not be among them.
	AllowHosts []string
	UserAgent  string
	Logger     *slog.Logger // nil discards
	// Dial connects to a host or to the proxy; nil is over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ReadTimeout is how long nothing may come, of a header or of a body; 0 is
	// 30 seconds. What is no blob may take four times as long in all, and of a blob
	// some bytes have to come in that time.
	ReadTimeout time.Duration
	// Retries is how often a request is repeated when a connection breaks or the
	// host says that it fails just now; 0 is 3 times, and less than that never.
	Retries int
	// MaxWait is how long a request whose context has no deadline waits for a host
	// that wants to be left alone (Retry-After); 0 is 30 seconds. One with a deadline
	// waits where that comes later.
	MaxWait time.Duration
}

// A Client talks to any number of registries. It is safe for concurrent use.
type Client struct {
	opts      Options      // set once by NewClient
	wire      *wire        // set once by NewClient
	upstreams *upstreams   // set once by NewClient
	count     *counters    // set once by NewClient
	http      *http.Client // set once by NewClient; for URLRange
	warn      sync.Map     // host → nothing: whose credentials failed

	mu           sync.Mutex
	hosts        map[string]*host       // guarded by mu; by canonical name
	repositories map[string]*Repository // guarded by mu; by canonical name
}

// rememberedRepositories bounds how many repositories keep their token, and with
// them the hosts. When there are more, all are forgotten and ask for new ones.
const rememberedRepositories = 4096

// NewClient returns a client; its owner closes it.
func NewClient(opts Options) *Client {
	if opts.Keychain == nil {
		opts.Keychain = DefaultKeychain()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = 30 * time.Second
	}
	if opts.Retries == 0 {
		opts.Retries = DefaultRetries
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = 30 * time.Second
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "ocidistfs"
	}
	if opts.CustomClient {
		opts.UserAgent += " (custom http.Client)"
	}
	c := &Client{
		opts:         opts,
		count:        newCounters(),
		hosts:        map[string]*host{},
		repositories: map[string]*Repository{},
	}
	c.wire = newWire(opts, c.count)
	c.upstreams = newUpstreams(opts.Logger)
	c.http = &http.Client{Transport: c.over(c.wire, opts.Retries)}
	return c
}

// over puts what gets one answer out of several requests over what sends one.
func (c *Client) over(inner http.RoundTripper, retries int) *steady {
	return &steady{inner: inner, upstreams: c.upstreams, retries: retries, maxWait: c.opts.MaxWait}
}

// Close closes the connections that are idle. Requests under way go on.
func (c *Client) Close() { c.wire.close() }

// Stats says what the client did since it was made.
func (c *Client) Stats() Stats {
	s := c.count.stats()
	c.upstreams.trouble(s.Hosts, time.Now())
	return s
}

// Repository returns the repository called "host[:port]/path". It asks nobody.
// The same name gives the same Repository, with what it learned, until there were
// so many others that all were forgotten. [ErrNotAllowed] is among its errors.
func (c *Client) Repository(fullName string) (*Repository, error) {
	hostName, path, err := splitName(fullName)
	if err != nil {
		return nil, err
	}
	if err := c.Allowed(hostName); err != nil {
		return nil, err
	}
	canonical := hostName + "/" + path
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.repositories[canonical]; ok {
		return r, nil
	}
	parsed, err := name.NewRepository(canonical)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", canonical, err)
	}
	if len(c.repositories) >= rememberedRepositories {
		clear(c.repositories)
		clear(c.hosts)
		c.wire.closeOwn()
	}
	r := &Repository{client: c, host: c.host(hostName), name: canonical, parsed: parsed}
	c.repositories[canonical] = r
	return r, nil
}

// host returns the host of a canonical name. c.mu is held.
func (c *Client) host(name string) *host {
	h, ok := c.hosts[name]
	if !ok {
		h = &host{name: name}
		c.hosts[name] = h
	}
	return h
}
