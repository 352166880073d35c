package distributiontest

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// TestPutBlob: the registry serves what was put beside it, to clients that
// verify it.
func TestPutBlob(t *testing.T) {
	s := Start(t, Open)
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000}})
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	from, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layer")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	s.PutBlob(t, "a/b", d, path)
	mark := s.Mark(t)
	s.Push(t, "a/b", "1", image)
	for _, r := range s.Since(t, mark) {
		if r.Method == http.MethodPatch && strings.Contains(r.Path, d.Hex) {
			t.Errorf("the blob was pushed: %+v", r)
		}
	}
	ref, options := s.reference(t, "a/b", "1")
	layer, err := remote.Layer(ref.Digest(d.String()), options...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes, %v, want %d", len(b), err, len(want))
	}
}
