package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// maxRedirects is how many a request follows; real registries need one or two.
const maxRedirects = 10

// wire is the lowest RoundTripper: every request of a client, those for tokens
// and those that follow a redirect too, goes through it. It holds the rules that
// nothing above can get around: who may be spoken to without TLS, how long to
// wait for a byte, what is counted.
type wire struct {
	insecure    map[string]bool
	userAgent   string
	readTimeout time.Duration
	count       *counters

	// HTTP/2 would put all ranges of a blob on one connection, which CDNs and
	// flow control throttle: blobs have transports of their own.
	verified, verifiedBlobs     *http.Transport
	unverified, unverifiedBlobs *http.Transport
}

func newWire(opts Options, count *counters) *wire {
	w := &wire{
		insecure:    map[string]bool{},
		userAgent:   opts.UserAgent,
		readTimeout: opts.ReadTimeout,
		count:       count,
	}
	for _, h := range opts.Insecure {
		w.insecure[CanonicalHost(h)] = true
	}
	w.verified = newTransport(opts, true, false)
	w.verifiedBlobs = newTransport(opts, false, false)
	w.unverified = newTransport(opts, true, true)
	w.unverifiedBlobs = newTransport(opts, false, true)
	return w
}

func newTransport(opts Options, http2, unverified bool) *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: opts.RootCAs, InsecureSkipVerify: unverified, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  opts.ReadTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        32,
		MaxResponseHeaderBytes: 1 << 20,
		// What is hashed must be what is sent.
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(http2)
	switch {
	case opts.Proxy != nil:
		t.Proxy = http.ProxyURL(opts.Proxy)
	case !opts.CustomClient:
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

func (w *wire) close() {
	for _, t := range []*http.Transport{w.verified, w.verifiedBlobs, w.unverified, w.unverifiedBlobs} {
		t.CloseIdleConnections()
	}
}

// isInsecure says whether the user named the host so.
func (w *wire) isInsecure(host string) bool { return w.insecure[CanonicalHost(host)] }

// forBlob marks the context of a request whose answer may be long.
type forBlob struct{}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	insecure := w.isInsecure(req.URL.Host)
	if req.URL.Scheme != "https" && !insecure && !isLoopback(req.URL.Hostname()) {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, ErrPlainHTTP)
	}
	transport := w.verified
	blob := req.Context().Value(forBlob{}) != nil
	switch {
	case insecure && blob:
		transport = w.unverifiedBlobs
	case insecure:
		transport = w.unverified
	case blob:
		transport = w.verifiedBlobs
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", w.userAgent)
	w.count.request(req.URL.Host)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = newPatientBody(resp.Body, w.readTimeout, cancel, func(n int) { w.count.received(req.URL.Host, n) })
	return resp, nil
}

// checkRedirect is the policy of every http.Client here. Go's own copies no
// Authorization that the transports below set, so none is left to strip.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d of them", ErrRedirect, maxRedirects)
	}
	first := via[0].URL
	if first.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: from TLS to %s", ErrRedirect, req.URL.Redacted())
	}
	if !isLoopback(first.Hostname()) && isInternal(req.URL.Hostname()) {
		return fmt.Errorf("%w: from %s to %s, an address of this machine or link", ErrRedirect, first.Host, req.URL.Host)
	}
	if req.URL.Host != via[len(via)-1].URL.Host {
		req.Header.Del("Authorization")
	}
	return nil
}

// isLoopback says whether a host is this machine by its very name.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// isInternal says whether a host is an address that a public registry has no
// business to send anyone to, such as a cloud's metadata service.
func isInternal(host string) bool {
	if isLoopback(host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
}
