package registrytest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// A Proxy is an HTTP proxy that counts. It ends with its test, and is safe for
// concurrent use.
type Proxy struct {
	http    *httptest.Server
	forward *httputil.ReverseProxy

	mu    sync.Mutex
	hosts []string // guarded by mu
}

// StartProxy starts a proxy on loopback.
func StartProxy(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{forward: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}}
	p.http = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		p.http.CloseClientConnections()
		p.http.Close()
	})
	return p
}

// URL is what clients are configured with.
func (p *Proxy) URL() *url.URL {
	u, err := url.Parse(p.http.URL)
	if err != nil {
		panic(err) // httptest made it
	}
	return u
}

// Hosts are the hosts that were asked for, in order: one a request, and for TLS
// one a connection.
func (p *Proxy) Hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.hosts)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hosts = append(p.hosts, r.Host)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		p.forward.ServeHTTP(w, r)
		return
	}
	there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = there.Close() }()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = here.Close() }()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(there, here) // one of them leaves
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
}
