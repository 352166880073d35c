package manners

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// startRedirecting starts a front that sends those who ask for blobs, and may have
// them, to a storage.
func startRedirecting(t *testing.T, b *bench, at *reservation, behind upstream, to *storage) {
	t.Helper()
	forward := &httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // of clients that left
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: behind.address})
			r.Out.Host = r.In.Host
			if r.In.URL.Path == "/token" {
				r.SetURL(&url.URL{Scheme: "http", Host: behind.tokens})
			}
			if isBlob(r.In) {
				r.Out.Method = http.MethodHead // whether it is there, and for whom
				r.Out.Header.Del("Range")
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			if isBlob(resp.Request) && resp.StatusCode == http.StatusOK {
				resp.StatusCode = http.StatusTemporaryRedirect
				resp.Header = http.Header{"Location": {to.sign(path.Base(resp.Request.URL.Path))}}
				resp.ContentLength = 0
			}
			return nil
		},
	}
	serve(t, at.secured(b.authority), forward)
}

func isBlob(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }

// serve serves until the test ends.
func serve(t *testing.T, l net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		_ = server.Serve(l) // until it is closed
		close(served)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
}

// A storage is another host that has blobs for whoever was sent there: an address
// is good once.
type storage struct {
	address string
	blobs   map[string][]byte // set once by startStorage

	mu     sync.Mutex
	signed map[string]string // guarded by mu; digests by signature
	asked  []http.Header     // guarded by mu; of each request
	sent   int64             // guarded by mu
}

func startStorage(t *testing.T, b *bench) *storage {
	t.Helper()
	l, err := tls.Listen("tcp", net.JoinHostPort(elsewhere, "0"), &tls.Config{Certificates: []tls.Certificate{b.authority.serverCertificate}})
	if err != nil {
		t.Fatal(err)
	}
	s := &storage{address: l.Addr().String(), blobs: b.content.blobs, signed: map[string]string{}}
	serve(t, l, s)
	return s
}

// sign returns an address of a blob.
func (s *storage) sign(digest string) string {
	signature := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed[signature] = digest
	return fmt.Sprintf("https://%s/store/%s?X-Signature=%s", s.address, strings.TrimPrefix(digest, "sha256:"), signature)
}

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	signature := r.URL.Query().Get("X-Signature")
	s.mu.Lock()
	digest, ok := s.signed[signature]
	delete(s.signed, signature)
	s.asked = append(s.asked, r.Header)
	s.mu.Unlock()
	if !ok || path.Base(r.URL.Path) != strings.TrimPrefix(digest, "sha256:") {
		// As S3 says it.
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>") // the client left
		return
	}
	http.ServeContent(&storageWriter{w, s}, r, "", time.Time{}, bytes.NewReader(s.blobs[digest]))
}

// requests returns the headers of what was asked, and how much was sent.
func (s *storage) requests() ([]http.Header, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]http.Header{}, s.asked...), s.sent
}

// storageWriter counts.
type storageWriter struct {
	http.ResponseWriter
	storage *storage
}

func (w *storageWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.storage.mu.Lock()
	w.storage.sent += int64(n)
	w.storage.mu.Unlock()
	return n, err
}
