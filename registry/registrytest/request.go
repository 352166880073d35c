package registrytest

import (
	"net/http"
	"slices"
	"strings"
)

// A Kind is what a request is for.
type Kind string

// The kinds of requests.
const (
	Ping     Kind = "ping"
	Token    Kind = "token"
	Tags     Kind = "tags"
	Manifest Kind = "manifest"
	Blob     Kind = "blob"
	// Referrers are of a digest, Catalog is of all repositories.
	Referrers Kind = "referrers"
	Catalog   Kind = "catalog"
	Other     Kind = "other"
)

// A Request is a line of the log. Status and Sent are 0 while it is answered.
type Request struct {
	Kind       Kind
	Method     string
	Path       string // with its query
	Repository string
	Reference  string // tag or digest
	Range      string
	UserAgent  string
	Proto      string // such as "HTTP/1.1"
	// Authorization is the header's scheme, in lower case; "" is none.
	Authorization string
	Status        int
	Sent          int64 // bytes of the body
}

// Requests returns the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]Request, len(s.requests))
	for i, r := range s.requests {
		requests[i] = *r
	}
	return requests
}

// Forget empties the log. What is being answered is not logged any more.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Count is how many requests the log has of some kinds; of none named, all.
func (s *Server) Count(kinds ...Kind) int {
	n := 0
	for _, r := range s.Requests() {
		if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
			n++
		}
	}
	return n
}

// Sent is how many bytes of blobs were sent.
func (s *Server) Sent() int64 {
	var n int64
	for _, r := range s.Requests() {
		if r.Kind == Blob {
			n += r.Sent
		}
	}
	return n
}

// logged answers one request: by the first fault that wants it, or as a registry
// does.
func (s *Server) logged(w http.ResponseWriter, r *http.Request) {
	req := parse(r)
	s.mu.Lock()
	s.requests = append(s.requests, req)
	faults := slices.Clone(s.faults)
	s.mu.Unlock()
	counted := &countedWriter{ResponseWriter: w, server: s, request: req}
	serve := func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, req) }
	for _, fault := range slices.Backward(faults) {
		next := serve
		serve = func(w http.ResponseWriter, r *http.Request) { fault(w, r, *req, next) }
	}
	serve(counted, r)
}

// parse finds out what a request is for.
func parse(r *http.Request) *Request {
	req := &Request{
		Kind: Other, Method: r.Method, Path: r.URL.RequestURI(),
		Range: r.Header.Get("Range"), UserAgent: r.UserAgent(), Proto: r.Proto,
	}
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	req.Authorization = strings.ToLower(scheme)
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case r.URL.Path == tokenPath:
		req.Kind = Token
	case ok && path == "":
		req.Kind = Ping
	case ok && path == "_catalog":
		req.Kind = Catalog
	case ok && strings.HasSuffix(path, "/tags/list"):
		req.Kind, req.Repository = Tags, strings.TrimSuffix(path, "/tags/list")
	case ok:
		// A repository may have a component called as one of them: the last counts.
		for kind, in := range map[Kind]string{Manifest: "/manifests/", Blob: "/blobs/", Referrers: "/referrers/"} {
			if i := strings.LastIndex(path, in); i > len(req.Repository) || i >= 0 && req.Kind == Other {
				req.Kind, req.Repository, req.Reference = kind, path[:i], path[i+len(in):]
			}
		}
	}
	return req
}

// countedWriter keeps the log's line up to date.
type countedWriter struct {
	http.ResponseWriter
	server  *Server
	request *Request
}

func (w *countedWriter) WriteHeader(status int) {
	w.server.mu.Lock()
	w.request.Status = status
	w.server.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if w.request.Status == 0 {
		w.request.Status = http.StatusOK
	}
	w.request.Sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is below.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
