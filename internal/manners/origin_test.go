package manners

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// A kind is a program that is a registry.
type kind int

const (
	distribution2 kind = iota // Debian's docker-registry
	distribution3             // the pinned one
	inProcess                 // go-containerregistry's
)

// An origin is a registry that takes content and logs what it is asked.
type origin interface {
	Push(t testing.TB, repo, tag string, image v1.Image)
	PushIndex(t testing.TB, repo, tag string, index v1.ImageIndex)
	TagMany(t testing.TB, repo, like string, tags ...string)
	Mark(t testing.TB) distributiontest.Mark
	Since(t testing.TB, m distributiontest.Mark) []distributiontest.Request
}

var (
	_ origin = (*distributiontest.Server)(nil)
	_ origin = (*processRegistry)(nil)
)

// A processRegistry is go-containerregistry's, in the test's process.
type processRegistry struct {
	address string

	mu       sync.Mutex
	requests []*distributiontest.Request // guarded by mu
}

func startInProcess(t *testing.T) *processRegistry {
	t.Helper()
	r := &processRegistry{}
	serve := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		line := &distributiontest.Request{Method: req.Method, Path: req.URL.RequestURI()}
		r.mu.Lock()
		r.requests = append(r.requests, line)
		r.mu.Unlock()
		serve.ServeHTTP(&sentWriter{ResponseWriter: w, registry: r, line: line}, req)
	}))
	t.Cleanup(server.Close)
	r.address = server.Listener.Addr().String()
	return r
}

// sentWriter keeps a line of the log up to date.
type sentWriter struct {
	http.ResponseWriter
	registry *processRegistry
	line     *distributiontest.Request
}

func (w *sentWriter) WriteHeader(status int) {
	w.registry.mu.Lock()
	w.line.Status = status
	w.registry.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *sentWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.registry.mu.Lock()
	w.line.Sent += int64(n)
	w.registry.mu.Unlock()
	return n, err
}

// Mark returns the end of the log: a line is there before its answer is.
func (r *processRegistry) Mark(testing.TB) distributiontest.Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return distributiontest.Mark(len(r.requests))
}

// Since returns what was asked after a mark.
func (r *processRegistry) Since(_ testing.TB, m distributiontest.Mark) []distributiontest.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var since []distributiontest.Request
	for _, line := range r.requests[m:] {
		since = append(since, *line)
	}
	return since
}

func (r *processRegistry) reference(t testing.TB, repo, tag string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(r.address+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Push pushes an image.
func (r *processRegistry) Push(t testing.TB, repo, tag string, image v1.Image) {
	t.Helper()
	if err := remote.Write(r.reference(t, repo, tag), image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// PushIndex pushes an index with its images.
func (r *processRegistry) PushIndex(t testing.TB, repo, tag string, index v1.ImageIndex) {
	t.Helper()
	if err := remote.WriteIndex(r.reference(t, repo, tag), index, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// TagMany makes more tags name what one tag does.
func (r *processRegistry) TagMany(t testing.TB, repo, like string, tags ...string) {
	t.Helper()
	pusher, err := remote.NewPusher() // it asks once how to speak to the registry
	if err != nil {
		t.Fatal(err)
	}
	what, err := remote.Get(r.reference(t, repo, like), remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if err := pusher.Push(t.Context(), r.reference(t, repo, tag), what); err != nil {
			t.Fatal(err)
		}
	}
}
