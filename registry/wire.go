package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// documentPatience is how many times as long as for its next byte is waited for
// all of an answer that is no blob: a registry that sends a byte now and then
// holds nobody for ever.
const documentPatience = 4

// wire is the lowest RoundTripper: every request of a client, those for tokens
// and those that follow a redirect too, goes through it. It holds the rules that
// nothing above can get around, not even the http.Clients inside of
// go-containerregistry: who may be spoken to without TLS, which redirects are
// followed, how long to wait for a byte, what is counted.
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
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: opts.RootCAs, InsecureSkipVerify: unverified, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  opts.ReadTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    requestsPerHost,
		MaxConnsPerHost:        requestsPerHost,
		MaxResponseHeaderBytes: 1 << 20,
		// What is hashed must be what is sent.
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	if opts.Dial != nil {
		t.DialContext = opts.Dial
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(http2)
	// A connection that died without a word would take every request with it.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}
	switch {
	case opts.Proxy != nil:
		t.Proxy = http.ProxyURL(opts.Proxy)
	case !opts.CustomClient:
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// loopbackOnly marks the context of a request without TLS with the address that
// has to be this machine.
type loopbackOnly struct{}

// dial connects. That a name says loopback is not enough where there is no TLS:
// "x.localhost" is whatever a resolver makes of it. A proxy's address is its
// user's choice.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if ctx.Value(loopbackOnly{}) == address {
		dialer.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			if ip, err := netip.ParseAddrPort(resolved); err != nil || !ip.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is %s: %w", address, resolved, ErrPlainHTTP)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
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
	if err := checkRedirect(req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	insecure := w.isInsecure(req.URL.Host)
	if req.URL.Scheme != "https" && !insecure {
		if !isLoopback(req.URL.Hostname()) {
			cancel(nil)
			return nil, fmt.Errorf("%s: %w", req.URL.Host, ErrPlainHTTP)
		}
		port := cmp.Or(req.URL.Port(), "80")
		ctx = context.WithValue(ctx, loopbackOnly{}, net.JoinHostPort(req.URL.Hostname(), port))
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
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", w.userAgent)
	// It would show the address that one redirect was signed for to the next.
	req.Header.Del("Referer")
	w.count.request(req.URL.Host)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	whole := documentPatience * w.readTimeout
	if blob && resp.StatusCode < 300 {
		whole = 0 // long ones take long
	}
	resp.Body = newPatientBody(resp.Body, w.readTimeout, whole, cancel, func(n int) { w.count.received(req.URL.Host, n) })
	return resp, nil
}
