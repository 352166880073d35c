package tree

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// pushLayers pushes an image of layers, the lowest first.
func (f *fixture) pushLayers(repo, tag string, layers ...v1.Layer) v1.Hash {
	f.t.Helper()
	return f.server.Push(f.t, repo, tag, registrytest.ImageOf(f.t, layers...))
}

// filesLayer is a layer of members.
func filesLayer(t testing.TB, members ...registrytest.Member) registrytest.Layer {
	t.Helper()
	return registrytest.Gzipped(t, registrytest.Archive(t, members...))
}

// find is what is at a path, over links.
func (f *fixture) find(path string) Node {
	f.t.Helper()
	place, err := f.tree.Find(f.t.Context(), f.path(path))
	if err != nil {
		f.t.Fatal(err)
	}
	return place.Node
}

// contentOf reads a file.
func contentOf(t testing.TB, n Node) string {
	t.Helper()
	file, ok := n.(File)
	if !ok {
		t.Fatalf("a %T is no file", n)
	}
	open, err := file.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }() // it was read
	if !open.Verified() {
		t.Error("what is in an image was not verified")
	}
	return string(readAll(t, open))
}

// blobsAsked is how often each blob was asked for.
func (f *fixture) blobsAsked() map[string]int {
	blobs := map[string]int{}
	for _, r := range f.server.Requests() {
		if r.Kind == registrytest.Blob && r.Method == http.MethodGet {
			blobs[r.Reference]++
		}
	}
	return blobs
}

// layerNames are the names of an image's layers.
func (f *fixture) layerNames(image string) []string {
	f.t.Helper()
	all, err := f.list(image + "/layers")
	if err != nil {
		f.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, recordSuffix) })
}

// noise is so many bytes that nothing compresses.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it has no error
	return string(b)
}
