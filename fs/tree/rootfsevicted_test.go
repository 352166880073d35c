package tree

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestRootfsOfIndex: of a layer that was evicted, but for its index, that part is fetched that
// holds the file, in one request, and nothing ahead of it.
func TestRootfsOfIndex(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	noise := make([]byte, 20<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise) // it never fails
	const span = 4 << 20
	f.pushLayers("app", "1", filesLayer(t,
		registrytest.Regular("first", "1"), registrytest.Regular("noise", string(noise[:2*span])), registrytest.Regular("middle", "2"),
		registrytest.Regular("more", string(noise[2*span:]))))
	f.find("app/tags/1/rootfs/first")
	f.tree.Close()

	evicted, err := filepath.Glob(filepath.Join(f.dir, "layers", "sha256", "*", "[^i]*")) // all but index
	if err != nil || len(evicted) == 0 {
		t.Fatalf("nothing to evict: %v, %v", evicted, err)
	}
	for _, path := range append(evicted, filepath.Join(f.dir, "blobs")) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	store, err := cache.Open(f.dir, cache.Options{Now: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	again := f.newTreeWith("linux/amd64", func(o *Options) { o.Store = store })
	defer again.Close()
	f.server.Forget()
	for path, want := range map[string]string{"first": "1", "middle": "2"} {
		before := len(f.server.Requests())
		place, err := again.Find(t.Context(), f.path("app/tags/1/rootfs/"+path))
		if err != nil || contentOf(t, place.Node) != want {
			t.Fatalf("%s: %v", path, err)
		}
		var blobs int
		var sent int64
		for _, r := range f.server.Requests()[before:] {
			if r.Kind == registrytest.Blob && r.Method == http.MethodGet {
				blobs, sent = blobs+1, sent+r.Sent
			}
		}
		if blobs != 1 || sent > span+span/4 {
			t.Errorf("%s took %d requests of blobs, and %d bytes", path, blobs, sent)
		}
	}
}
