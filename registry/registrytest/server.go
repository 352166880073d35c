// Package registrytest is a registry inside a test: in memory, on loopback, with
// a log of what was asked and with faults that a test puts in.
//
// It serves what a reader needs of the distribution spec (pings, tags and the catalog
// by pages, manifests, referrers, blobs by range) and takes content through Go calls instead of
// uploads, so that a test can serve what no client could push: other bytes
// under a digest, a blob of many gigabytes, a manifest that is none.
package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options are what a [Server] is like. The zero value is open to everybody and
// speaks plain HTTP.
type Options struct {
	TLS   bool
	HTTP2 bool // with TLS, for clients that offer it
	// Username and Password are asked of everybody where they are set: as basic
	// authentication, or for a token where Bearer is set. Bearer alone gives
	// tokens to anybody.
	Username, Password string
	Bearer             bool
	// IdentityToken, where it is set, is what a token is also given for by OAuth.
	IdentityToken string
	// PageSize is how many tags, repositories or referrers a page has at most; 0 is as
	// many as are asked for.
	PageSize int
	// NoReferrers is a registry without the referrers API, and NoCatalog the status
	// that it answers with in place of a catalog: 0 is that it has one, 200 an
	// empty one.
	NoReferrers bool
	NoCatalog   int
	// Listener is where it is reached; nil is a port on loopback.
	Listener net.Listener
	// Prefix is a path before that of the API, such as "/mirror"; "" is none.
	Prefix string
	// Clients, where it is set, are the authorities of certificates that a TLS server
	// asks its clients for.
	Clients *x509.CertPool
}

// A Server is a registry. It ends with its test. It is safe for concurrent use.
type Server struct {
	opts Options
	http *httptest.Server
	done chan struct{} // closed when the test ends

	mu           sync.Mutex
	repositories map[string]*repository // guarded by mu
	requests     []*Request             // guarded by mu
	faults       []Fault                // guarded by mu
	tokens       map[string][]string    // guarded by mu; those that are good, with their scopes
	issued       int                    // guarded by mu
}

// Start starts a registry.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{
		opts: opts, done: make(chan struct{}),
		repositories: map[string]*repository{}, tokens: map[string][]string{},
	}
	s.http = httptest.NewUnstartedServer(http.StripPrefix(opts.Prefix, http.HandlerFunc(s.logged)))
	if opts.Listener != nil {
		_ = s.http.Listener.Close() // nobody knows of it
		s.http.Listener = opts.Listener
	}
	if opts.Clients != nil {
		s.http.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: opts.Clients}
	}
	s.http.EnableHTTP2 = opts.HTTP2
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are no news
	if opts.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(func() {
		close(s.done)
		s.http.CloseClientConnections() // of those who wait for a silent answer
		s.http.Close()
	})
	return s
}

// Host is "address:port", as references have it.
func (s *Server) Host() string { return s.http.Listener.Addr().String() }

// URL is the address with its scheme.
func (s *Server) URL() string { return s.http.URL }

// Certificate is what a client of a TLS server has to trust; PEM.
func (s *Server) Certificate() []byte { return pemOf(s.http.Certificate()) }

// serve answers a request that no fault took.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, req *Request) {
	if req.Kind == Token {
		s.serveToken(w, r)
		return
	}
	if !s.authorized(r, req) {
		s.challenge(w, req)
		return
	}
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read only")
		return
	}
	switch req.Kind {
	case Ping:
		w.WriteHeader(http.StatusOK)
	case Tags:
		s.serveTags(w, r, req)
	case Manifest:
		s.serveManifest(w, r, req)
	case Blob:
		s.serveBlob(w, r, req)
	case Referrers:
		s.serveReferrers(w, r, req)
	case Catalog:
		s.serveCatalog(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveTags serves one page, in lexical order, as the spec has it.
func (s *Server) serveTags(w http.ResponseWriter, r *http.Request, req *Request) {
	s.mu.Lock()
	repo, ok := s.repositories[req.Repository]
	var names []string
	if ok {
		for tag := range repo.tags {
			names = append(names, tag)
		}
	}
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	names = s.page(w, r, names)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": req.Repository, "tags": names}) // the client left
}

// page returns the names of the page that is asked for, and sets where the next is.
func (s *Server) page(w http.ResponseWriter, r *http.Request, names []string) []string {
	slices.Sort(names)
	if last := r.URL.Query().Get("last"); last != "" {
		i, found := slices.BinarySearch(names, last)
		if found {
			i++
		}
		names = names[i:]
	}
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n <= 0 {
		n = len(names)
	}
	if s.opts.PageSize > 0 {
		n = min(n, s.opts.PageSize)
	}
	if n < len(names) {
		names = names[:n]
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {names[n-1]}}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, next.Encode()))
	}
	if names == nil {
		names = []string{}
	}
	return names
}

func (s *Server) serveManifest(w http.ResponseWriter, _ *http.Request, req *Request) {
	s.mu.Lock()
	var m manifest
	repo, ok := s.repositories[req.Repository]
	if ok {
		digest := req.Reference
		if !strings.HasPrefix(digest, "sha256:") {
			digest = repo.tags[digest].String()
		}
		m, ok = repo.manifests[digest]
	}
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	w.Header().Set("Content-Type", string(m.mediaType))
	w.Header().Set("Content-Length", strconv.Itoa(len(m.bytes)))
	w.Header().Set("Docker-Content-Digest", m.digest.String())
	if req.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	_, _ = w.Write(m.bytes) // the client left
}

func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, req *Request) {
	s.mu.Lock()
	var b blob
	repo, ok := s.repositories[req.Repository]
	if ok {
		b, ok = repo.blobs[req.Reference]
	}
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", req.Reference)
	http.ServeContent(w, r, "", b.modified, b.reader())
}

// refuse answers with an error as the spec has it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client left
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}

// manifest is a manifest or index, under the digest that it is served as.
type manifest struct {
	digest    v1.Hash
	mediaType types.MediaType
	bytes     []byte
}
