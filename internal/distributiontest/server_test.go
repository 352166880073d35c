package distributiontest

import (
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestServer holds the server to what end-to-end tests rely on: it keeps people
// out, lets the user in, and counts.
func TestServer(t *testing.T) {
	for name, auth := range map[string]Auth{"open": Open, "basic": Basic, "bearer": Bearer} {
		t.Run(name, func(t *testing.T) { check(t, Start(t, auth)) })
	}
}

func check(t *testing.T, s *Server) {
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000}})
	s.Push(t, "a/b", "1", image)
	mark := s.Mark(t)
	ref, options := s.reference(t, "a/b", "1")
	if _, err := remote.Head(ref, options...); err != nil {
		t.Error(err)
	}
	heads := 0
	for _, r := range s.Since(t, mark) {
		if r.Method == http.MethodHead && r.IsManifest() && r.Status == http.StatusOK {
			heads++
		}
	}
	if heads != 1 {
		t.Errorf("the log has %d requests, want 1", heads)
	}
	_, err := remote.Head(ref, remote.WithContext(t.Context()))
	if refused := err != nil; refused != (s.auth != Open) {
		t.Errorf("without a password: %v", err)
	}
}
