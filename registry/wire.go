package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
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
	opts     Options // set once by newWire, as what follows
	insecure map[string]bool
	count    *counters

	verified, unverified *lines

	mu  sync.Mutex
	own []*lines // guarded by mu; of endpoints that something is configured of
}

// lines are the connections of a kind. HTTP/2 would put all ranges of a blob on one
// connection, which CDNs and flow control throttle: blobs have a transport of their
// own.
type lines struct{ documents, blobs *http.Transport }

func (l *lines) close() {
	l.documents.CloseIdleConnections()
	l.blobs.CloseIdleConnections()
}

func newWire(opts Options, count *counters) *wire {
	w := &wire{opts: opts, insecure: map[string]bool{}, count: count}
	for _, h := range opts.Insecure {
		w.insecure[CanonicalHost(h)] = true
	}
	w.verified = w.lines(&tls.Config{RootCAs: opts.RootCAs}, endpointConfig{})
	w.unverified = w.lines(&tls.Config{InsecureSkipVerify: true}, endpointConfig{})
	return w
}

// lines makes those for one kind of trust; of the configuration, how to connect
// counts.
func (w *wire) lines(trust *tls.Config, config endpointConfig) *lines {
	trust.MinVersion = tls.VersionTLS12
	return &lines{newTransport(w.opts, trust, config, true), newTransport(w.opts, trust.Clone(), config, false)}
}

func newTransport(opts Options, trust *tls.Config, config endpointConfig, http2 bool) *http.Transport {
	t := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        trust,
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
	case config.proxy != nil:
		t.Proxy = http.ProxyURL(config.proxy)
	case !opts.CustomClient:
		t.Proxy = http.ProxyFromEnvironment
	}
	if limit := config.dialTimeout; limit > 0 {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, limit, ErrStalled)
			defer cancel()
			return dial(ctx, network, address)
		}
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
	w.verified.close()
	w.unverified.close()
	w.closeOwn()
}

// closeOwn closes what is idle of endpoints, and forgets them.
func (w *wire) closeOwn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.own {
		l.close()
	}
	w.own = nil
}

// forget closes what is idle of one endpoint, and forgets it.
func (w *wire) forget(v *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = slices.DeleteFunc(w.own, func(l *lines) bool {
		if l != v.own && l != v.others {
			return false
		}
		l.close()
		return true
	})
}

// linesOf makes those of an endpoint.
func (w *wire) linesOf(trust *tls.Config, config endpointConfig) *lines {
	l := w.lines(trust, config)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = append(w.own, l)
	return l
}

// isInsecure says whether the user named the host so.
func (w *wire) isInsecure(host string) bool { return w.insecure[CanonicalHost(host)] }

// forBlob marks the context of a request whose answer may be long.
type forBlob struct{}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) { return w.send(req, nil) }

// send sends a request on an endpoint's behalf, nil being nobody's.
func (w *wire) send(req *http.Request, v *way) (*http.Response, error) {
	if err := checkRedirect(req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	insecure := w.isInsecure(req.URL.Host)
	if req.URL.Scheme != "https" && !insecure && !v.isPlain(req.URL) {
		if !isLoopback(req.URL.Hostname()) {
			cancel(nil)
			return nil, fmt.Errorf("%s: %w", req.URL.Host, ErrPlainHTTP)
		}
		port := cmp.Or(req.URL.Port(), "80")
		ctx = context.WithValue(ctx, loopbackOnly{}, net.JoinHostPort(req.URL.Hostname(), port))
	}
	through := w.verified
	if insecure {
		through = w.unverified
	}
	through = cmp.Or(v.linesTo(req.URL.Host, insecure), through)
	transport := through.documents
	blob := req.Context().Value(forBlob{}) != nil
	if blob {
		transport = through.blobs
	}
	req = req.Clone(ctx)
	v.addHeader(req)
	req.Header.Set("User-Agent", w.opts.UserAgent)
	// It would show the address that one redirect was signed for to the next.
	req.Header.Del("Referer")
	w.count.request(req.URL.Host)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	whole := documentPatience * w.opts.ReadTimeout
	if blob && resp.StatusCode < 300 {
		whole = 0 // long ones take long
	}
	resp.Body = newPatientBody(resp.Body, w.opts.ReadTimeout, whole, cancel, func(n int) { w.count.received(req.URL.Host, n) })
	return resp, nil
}
