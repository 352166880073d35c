package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// clientCertificate makes a certificate that is its own authority, as PEM.
func clientCertificate(t testing.TB) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// knowing starts a TLS registry that has "{}" as a:x and lets in who shows the
// certificate.
func knowing(t testing.TB, certificate []byte) *registrytest.Server {
	t.Helper()
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(certificate) {
		t.Fatal("no certificate")
	}
	s := registrytest.Start(t, registrytest.Options{TLS: true, Clients: clients})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	return s
}

// Certificates reach their host from each place that they can be in.
// A certificate's names are as much somebody's word as a message is.
func TestErrorIsPrintable(t *testing.T) {
	certificate := &x509.Certificate{DNSNames: []string{"a\x1b[2J\r\nb.example"}}
	err := &Error{Op: "contact", Ref: "r.example", Err: fmt.Errorf("tls: %w", x509.HostnameError{Certificate: certificate, Host: "r.example"})}
	if strings.ContainsAny(err.Error(), "\x1b\r\n") || !strings.Contains(err.Error(), "a[2Jb.example") {
		t.Errorf("%q", err)
	}
}

func TestClientCertificate(t *testing.T) {
	certificate, key := clientCertificate(t)
	both := string(certificate) + string(key)
	s := knowing(t, certificate)
	ca := string(s.Certificate())
	given, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string]string
		given tls.Certificate
		ok    bool
	}{
		"none":                 {map[string]string{"hosts.toml": "ca = 'ca.pem'", "ca.pem": ca}, tls.Certificate{}, false},
		"in one file":          {map[string]string{"hosts.toml": "ca = 'ca.pem'\nclient = 'both.pem'", "ca.pem": ca, "both.pem": both}, tls.Certificate{}, true},
		"in two":               {map[string]string{"hosts.toml": "ca = ['ca.pem']\nclient = [['c', 'k']]", "ca.pem": ca, "c": string(certificate), "k": string(key)}, tls.Certificate{}, true},
		"of nobody's":          {map[string]string{"hosts.toml": "client = 'both.pem'", "both.pem": both}, tls.Certificate{}, false},
		"without verification": {map[string]string{"hosts.toml": "skip_verify = true\nclient = 'both.pem'", "both.pem": both}, tls.Certificate{}, true},
		"docker's":             {map[string]string{"ca.crt": ca, "me.cert": string(certificate), "me.key": string(key)}, tls.Certificate{}, true},
		"docker's, one file":   {map[string]string{"ca.crt": ca, "me.cert": both}, tls.Certificate{}, true},
		"given":                {map[string]string{"ca.crt": ca}, given, true},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range c.files {
				files[s.Host()+"/"+file] = text
			}
			opts := Options{HostsDirs: []string{hostsDir(t, files)}}
			if c.given.PrivateKey != nil {
				opts.Certificates = map[string][]tls.Certificate{s.Host(): {c.given}}
			}
			_, err := repositoryOf(t, clientOf(t, opts), s.Host()+"/a").Manifest(t.Context(), "x")
			if (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestLoadCertificate(t *testing.T) {
	certificate, key := clientCertificate(t)
	dir := t.TempDir()
	for name, b := range map[string][]byte{"cert": certificate, "key": key, "both": append(append([]byte{}, key...), certificate...), "none": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		cert, key string
		ok        bool
	}{
		{"cert", "key", true}, {"both", "", true}, {"both", "both", true},
		{"cert", "", false}, {"none", "key", false}, {"cert", "none", false}, {"missing", "key", false}, {"cert", "missing", false},
	} {
		keyFile := ""
		if c.key != "" {
			keyFile = filepath.Join(dir, c.key)
		}
		if _, err := LoadCertificate(filepath.Join(dir, c.cert), keyFile); (err == nil) != c.ok {
			t.Errorf("%s, %s: %v", c.cert, c.key, err)
		}
	}
}

// What is configured of a host is for that host: where it redirects to, nothing of it
// is shown but that its authorities are trusted.
func TestWayIsForItsHost(t *testing.T) {
	certificate, key := clientCertificate(t)
	s := knowing(t, certificate)
	content := someBytes(100)
	d := registrytest.DigestOf(content)
	type asker struct{ header, certificate bool }
	seen := make(chan asker, 1)
	// Of the same authority, since httptest has one; it takes any certificate.
	store := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- asker{r.Header.Get("X-Who") != "", len(r.TLS.PeerCertificates) > 0}
		_, _ = w.Write(content)
	}))
	store.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	store.StartTLS()
	defer store.Close()
	atRegistry := make(chan string, 10)
	s.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		atRegistry <- r.Header.Get("X-Who") + " " + r.UserAgent()
		if req.Kind == registrytest.Blob {
			http.Redirect(w, r, store.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		next(w, r)
	})
	opts := Options{UserAgent: "mine", HostsDirs: []string{hostsDir(t, map[string]string{
		s.Host() + "/hosts.toml": "ca = 'ca.pem'\nclient = 'both.pem'\n[header]\nx-who = 'me'\nuser-agent = 'another'",
		s.Host() + "/ca.pem":     string(s.Certificate()), s.Host() + "/both.pem": string(certificate) + string(key),
	})}}
	r := repositoryOf(t, clientOf(t, opts), s.Host()+"/a")
	if _, _, err := get(t, r, d, 0, 100); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got.header || got.certificate {
		t.Errorf("the store of blobs was shown %+v", got)
	}
	close(atRegistry)
	n := 0
	for got := range atRegistry {
		if n++; got != "me mine" {
			t.Errorf("the registry was told %q", got)
		}
	}
	if n != 2 {
		t.Errorf("%d requests, want a ping and one for the blob", n)
	}
}

// Without TLS a mirror elsewhere is spoken to where hosts.toml says http://, and only
// there.
func TestPlainMirror(t *testing.T) {
	for table, plain := range map[string]bool{
		`[host."http://mirror.example.com"]`:                       true,
		`[host."http://mirror.example.com:5000/x"]`:                true,
		`[host."https://mirror.example.com"]`:                      false,
		`[host."mirror.example.com"]`:                              false,
		`[host."https://127.0.0.1:5000"]`:                          false,
		"[host.\"http://mirror.example.com\"]\nskip_verify = true": true, // TLS is tried, and refused by this proxy
		`server = "http://registry.example.com"`:                   true,
		`server = "https://registry.example.com"`:                  false,
	} {
		t.Run(table, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.PutManifest("a", "x", imageType, []byte("{}"))
			opts := proxied(t, s)
			opts.HostsDirs = mirroredBy(t, "registry.example.com", table).HostsDirs
			if strings.Contains(table, "/x") {
				s.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
					w.Header().Set("Content-Type", imageType)
					if r.URL.Path == "/x/v2/a/manifests/x" {
						_, _ = w.Write([]byte("{}"))
					}
				})
			}
			_, err := repositoryOf(t, clientOf(t, opts), "registry.example.com/a").Manifest(t.Context(), "x")
			if (err == nil) != plain {
				t.Errorf("%v; asked for %s", err, asked(s))
			}
			if log := asked(s); !plain && log != "" {
				t.Errorf("asked without TLS: %s", log)
			}
		})
	}
	t.Run("where it redirects to", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{})
		s.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
			if r.Host == "other.example.com" {
				next(w, r)
				return
			}
			http.Redirect(w, r, "http://other.example.com/v2/a/manifests/x", http.StatusTemporaryRedirect)
		}))
		s.PutManifest("a", "x", imageType, []byte("{}"))
		opts := proxied(t, s)
		opts.HostsDirs = mirroredBy(t, "registry.example.com", `server = "http://registry.example.com"`).HostsDirs
		if _, err := repositoryOf(t, clientOf(t, opts), "registry.example.com/a").Manifest(t.Context(), "x"); !errors.Is(err, ErrPlainHTTP) {
			t.Errorf("%v", err)
		}
	})
}

// A host's own proxy takes what is for it, and what is for no other.
func TestProxyOfAHost(t *testing.T) {
	m, origin := startWithTag(t), startWithTag(t)
	proxy := registrytest.StartProxy(t)
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL(), `proxy = "`+proxy.URL().String()+`"`, `dial_timeout = "9s"`))), origin.Host()+"/a")
	m.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(404, "MANIFEST_UNKNOWN", "")))
	if _, err := r.Manifest(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if hosts := strings.Join(proxy.Hosts(), " "); hosts != m.Host()+" "+m.Host() {
		t.Errorf("the proxy saw %s, want the mirror's ping and manifest", hosts)
	}
}

// "With --allow-hosts no other registry is contacted."
func TestAllowHosts(t *testing.T) {
	s := startWithTag(t)
	for _, c := range []struct {
		allow string // with blanks between
		host  string
		ok    bool
	}{
		{"", "registry.example.com", true},
		{"registry.example.com", "registry.example.com", true},
		{"registry.example.com", "registry.example.com:5000", false},
		{"registry.example.com", "example.com", false},
		{"registry.example.com:*", "registry.example.com:5000", true},
		{"*.example.com", "registry.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "registry.example.com.evil.org", false},
		{"a.io b.io", "b.io", true},
		{"docker.io", "index.docker.io", true},
		{"registry-1.docker.io", "docker.io", true},
		{"[::1]:5000", "[::1]:5000", true},
		{"[::1]:5000", "[::2]:5000", false},
		{"*", "[::2]:5000", true},
	} {
		client := clientOf(t, Options{AllowHosts: strings.Fields(c.allow)})
		_, err := client.Repository(c.host + "/a/b")
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, ErrNotAllowed) || errors.Is(err, iofs.ErrNotExist)) {
			t.Errorf("%s of %q: %v", c.host, c.allow, err)
		}
	}
	for pattern, ok := range map[string]bool{"a.io": true, "*.a.io": true, "[::1]:5000": true, "*:5000": true, "": false, "[": false, "a[": false} {
		if err := CheckHostPattern(pattern); (err == nil) != ok {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	// Mirrors of a registry that is allowed are; addresses in manifests are not.
	m := startWithTag(t)
	opts := mirroredBy(t, s.Host(), mirror(m.URL()))
	opts.AllowHosts = []string{s.Host()}
	client := clientOf(t, opts)
	if _, err := repositoryOf(t, client, s.Host()+"/a").Manifest(t.Context(), "x"); err != nil || kinds(m) != "manifest" {
		t.Errorf("%v; the mirror was asked for %q", err, kinds(m))
	}
	if _, _, err := client.URLRange(t.Context(), "https://layers.example.com/x", 0, 1); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("%v", err)
	}
}
