package tree

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// pullThrough answers as a cache before a registry does: with ranges of the blobs that
// it has, and with all of one that it does not have, which it fetches for that, for each
// who asks until it has come once.
func pullThrough(has ...string) registrytest.Fault {
	var mu sync.Mutex
	there := map[string]bool{}
	for _, digest := range has {
		there[digest] = true
	}
	return registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		mu.Lock()
		cold := !there[req.Reference]
		mu.Unlock()
		if !cold {
			next(w, r)
			return
		}
		registrytest.Rangeless()(w, r, req, next)
		mu.Lock()
		defer mu.Unlock()
		there[req.Reference] = true
	})
}

// mirrorOf writes a hosts.toml that has a mirror stand for a registry.
func mirrorOf(t *testing.T, host, mirror string) (dirs []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, host), 0o700); err != nil {
		t.Fatal(err)
	}
	table := fmt.Sprintf("[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", mirror)
	if err := os.WriteFile(filepath.Join(dir, host, "hosts.toml"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{dir}
}

// "Of a source that knows no ranges each blob comes once." Readers go through an image
// at once, in order with what is fetched ahead and at random, in several processes that
// share a directory.
func TestRangelessComesOnce(t *testing.T) {
	for _, processes := range []int{1, 3} {
		for name, warm := range map[string]bool{"no ranges": false, "ranges of what it has": true} {
			t.Run(fmt.Sprintf("%s, %d processes", name, processes), func(t *testing.T) {
				f := newFixture(t, registrytest.Options{})
				image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{3 << 20, 7 << 20, 1000, 5 << 20}})
				f.server.Push(t, "a", "1", image)
				layers, err := image.Layers()
				if err != nil {
					t.Fatal(err)
				}
				size, has := int64(0), ""
				for i, layer := range layers {
					n, err := layer.Size()
					if err != nil {
						t.Fatal(err)
					}
					d, err := layer.Digest()
					if err != nil {
						t.Fatal(err)
					}
					if i == 0 && warm {
						has = d.String()
						continue
					}
					size += n
				}
				config, err := image.RawConfigFile()
				if err != nil {
					t.Fatal(err)
				}
				host, fault := f.server.Host(), registrytest.Only(registrytest.Blob, registrytest.Rangeless())
				if warm {
					t.Cleanup(f.client.Close)
					host, fault = "registry.example.com", pullThrough(has)
					f.client = registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), HostsDirs: mirrorOf(t, host, f.server.URL())})
				}
				want := readAll(t, openIn(t, f.newTree("linux/amd64"), host+"/a/tags/1/image.tar"))
				f.server.Break(fault)
				f.server.Forget()

				dir := t.TempDir()
				var group sync.WaitGroup
				for range processes {
					store, err := cache.Open(dir, cache.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = store.Close() }()
					f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Store, o.ReadAhead, o.Connections = store, 64<<20, 8 })
					for i := range 3 {
						open := openIn(t, f.tree, host+"/a/tags/1/image.tar")
						group.Go(func() {
							got, err := io.ReadAll(section(t, open))
							if err != nil || !bytes.Equal(got, want) {
								t.Errorf("in order: %d of %d bytes: %v", len(got), len(want), err)
							}
						})
						group.Go(func() {
							random, p := rand.New(rand.NewPCG(1, uint64(i))), make([]byte, 5000)
							for range 50 {
								off := random.Int64N(int64(len(want) - len(p)))
								if _, err := open.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, want[off:][:len(p)]) {
									t.Errorf("at %d: %v", off, err)
								}
							}
						})
					}
				}
				group.Wait()
				asked, sent := map[string]int{}, int64(0)
				for _, r := range f.server.Requests() {
					if r.Kind == registrytest.Blob && r.Reference != has {
						asked[r.Reference]++
						sent += r.Sent
					}
				}
				for d, n := range asked {
					if n != 1 {
						t.Errorf("%s was asked for %d times", d, n)
					}
				}
				if size += int64(len(config)); sent != size {
					t.Errorf("%d bytes were sent, want each once: %d", sent, size)
				}
			})
		}
	}
}
