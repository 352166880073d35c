package registry

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func authorities(t testing.TB, s *registrytest.Server) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.Certificate()) {
		t.Fatal("no certificate")
	}
	return pool
}

func TestTLS(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	m := s.Push(t, "a", "x", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10}}))
	for name, c := range map[string]struct {
		opts Options
		ok   bool
	}{
		"unknown authority": {Options{}, false},
		"known authority":   {Options{RootCAs: authorities(t, s)}, true},
		"insecure":          {Options{Insecure: []string{s.Host()}}, true},
		"another insecure":  {Options{Insecure: []string{"other.example.com"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := repositoryOf(t, clientOf(t, c.opts), s.Host()+"/a")
			d, err := r.Resolve(t.Context(), "x")
			if (err == nil) != c.ok || c.ok && d.Digest != m {
				t.Errorf("%v, %v", d.Digest, err)
			}
		})
	}
}

// Private addresses are no loopback, whatever go-containerregistry thinks.
func TestPlainHTTP(t *testing.T) {
	for host, plain := range map[string]bool{
		"127.0.0.1:5000": true, "127.1.2.3:5000": true, "localhost": true, "localhost:5000": true, "x.localhost:5000": true, "[::1]:5000": true,
		"named.example.com": true,
		"10.0.0.1:5000":     false, "192.168.1.1": false, "172.16.0.1:80": false, "169.254.1.1": false, "registry.example.com": false, "registry:5000": false,
		"docker.io": false, "[fd00::1]:5000": false, "127.0.0.1.example.com": false, "notlocalhost:5000": false, "named.example.com:5000": false,
	} {
		t.Run(host, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Tag("a/b", "x", Digest{})
			r := repositoryOf(t, clientOf(t, proxied(t, s, "named.example.com")), host+"/a/b")
			n := 0
			var err error
			for _, e := range r.Tags(t.Context()) {
				n++
				err = errors.Join(err, e)
			}
			if plain && (n != 1 || err != nil) {
				t.Errorf("%d tags, %v", n, err)
			}
			if !plain && (err == nil || asked(s) != "") {
				t.Errorf("%v; asked without TLS: %s", err, asked(s))
			}
		})
	}
}

// "x.localhost" is what a resolver makes of it.
func TestPlainHTTPIsCheckedWhenDialing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	for ip, refused := range map[string]bool{"127.0.0.1": false, "0.0.0.0": true} {
		_, port, err := net.SplitHostPort(s.Host())
		if err != nil {
			t.Fatal(err)
		}
		address := net.JoinHostPort(ip, port)
		conn, err := dial(context.WithValue(t.Context(), loopbackOnly{}, address), "tcp", address)
		if errors.Is(err, ErrPlainHTTP) != refused {
			t.Errorf("%s: %v", ip, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func TestProxyTakesEveryRequest(t *testing.T) {
	for name, opts := range map[string]Options{"plain": {}, "custom": {CustomClient: true}} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{Bearer: true})
			d := s.PutBlob("a", someBytes(10))
			s.PutManifest("a", "x", "application/vnd.oci.image.manifest.v1+json", []byte("{}"))
			proxy := registrytest.StartProxy(t)
			opts.Proxy = proxy.URL()
			r := repositoryOf(t, clientOf(t, opts), s.Host()+"/a")
			if _, err := r.Manifest(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if _, _, err := get(t, r, d, 0, 10); err != nil {
				t.Fatal(err)
			}
			if log := asked(s); log != "ping, token, manifest by bearer, blob by bearer" {
				t.Errorf("asked for %s", log)
			}
			// The first is the ping that tries TLS.
			if hosts := proxy.Hosts(); len(hosts) != 5 {
				t.Errorf("the proxy saw %s", hosts)
			}
		})
	}
	t.Run("TLS", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{TLS: true})
		d := s.PutBlob("a", someBytes(10))
		proxy := registrytest.StartProxy(t)
		r := repositoryOf(t, clientOf(t, Options{Proxy: proxy.URL(), RootCAs: authorities(t, s)}), s.Host()+"/a")
		if _, _, err := get(t, r, d, 0, 10); err != nil {
			t.Fatal(err)
		}
		if hosts := strings.Join(proxy.Hosts(), " "); hosts != s.Host()+" "+s.Host() {
			t.Errorf("the proxy saw %s", hosts) // one connection for the ping, one for blobs
		}
	})
}

func TestUserAgent(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{}, "ocidistfs"},
		{Options{UserAgent: "x/1"}, "x/1"},
		{Options{UserAgent: "x/1", CustomClient: true}, "x/1 (custom http.Client)"},
	} {
		s := registrytest.Start(t, registrytest.Options{Bearer: true})
		d := s.PutBlob("a", someBytes(10))
		if _, _, err := get(t, repositoryOf(t, clientOf(t, c.opts), s.Host()+"/a"), d, 0, 10); err != nil {
			t.Fatal(err)
		}
		for _, req := range s.Requests() {
			if req.UserAgent != c.want {
				t.Errorf("%s by %q", req.Kind, req.UserAgent)
			}
		}
	}
}

// A registry that sends a byte now and then holds nobody for ever.
func TestDocumentTrickles(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", "application/vnd.oci.image.manifest.v1+json", []byte(`{"a":"`+strings.Repeat("x", 10_000)+`"}`))
	r := repositoryOf(t, clientOf(t, Options{ReadTimeout: 50 * time.Millisecond}), s.Host()+"/a")
	s.Break(registrytest.Only(registrytest.Manifest, s.Trickle(1, 10*time.Millisecond)))
	if _, err := r.Manifest(t.Context(), "x"); !errors.Is(err, ErrStalled) {
		t.Errorf("manifest: %v", err)
	}
	d := s.PutBlob("a", someBytes(10_000))
	s.Break(registrytest.Only(registrytest.Blob, all(s.Trickle(1, 10*time.Millisecond), registrytest.Refuse(500, "UNKNOWN", strings.Repeat("x", 10_000)))))
	begun := time.Now()
	if _, _, err := get(t, r, d, 0, 10); statusOf(err) != http.StatusInternalServerError {
		t.Errorf("blob: %v", err)
	}
	if took := time.Since(begun); took > 20*time.Second { // of more than a minute
		t.Errorf("the error took %s", took)
	}
}

// A blob takes as long as it takes.
func TestBlobIsSlow(t *testing.T) {
	const patience = 2 * time.Second
	inBubble(t, registrytest.Options{}, Options{ReadTimeout: patience}, func(b *bubble) {
		content := someBytes(9000)
		d := b.server.PutBlob("a", content)
		b.server.Break(registrytest.Only(registrytest.Blob, b.server.Trickle(300, 300*time.Millisecond)))
		if got, _, err := get(b, b.repository("a"), d, 0, 9000); err != nil || !bytes.Equal(got, content) {
			b.Errorf("%d bytes, %v", len(got), err)
		}
		if took := b.passed(); took < documentPatience*patience {
			b.Errorf("it took only %s: nothing was tested", took)
		}
	})
}

func statusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return -1
}

// A host that has to speak TLS and answers in plain HTTP is told from one that
// does not answer.
func TestPlainAnswerToTLS(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n") // the proxy's
		_, _ = conn.Read(make([]byte, 1))                      // of the client's hello
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client has seen it
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := repositoryOf(t, clientOf(t, Options{Proxy: u}), "registry.example.com/a")
	if _, err := r.Manifest(t.Context(), "x"); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("%v", err)
	}
}
