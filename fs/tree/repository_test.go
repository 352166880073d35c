package tree

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A cache that takes nothing costs requests after a restart, and says so; all
// that needs no blob is there nevertheless.
func TestCacheThatCannotBeWritten(t *testing.T) {
	f := newFixture(t, registrytest.Options{NoCatalog: 404})
	_, images := f.pushIndex("a", "1", registrytest.ImageSpec{Layers: []int64{10}})
	// A file where the repository's directory would be: root may write anywhere.
	refs := filepath.Join(f.dir, "refs")
	f.read("a/tags/1/digest")
	own, err := os.ReadDir(refs)
	if err != nil || len(own) != 1 {
		t.Fatalf("%v, %v", own, err)
	}
	dir := filepath.Join(refs, own[0].Name())
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f.asked()
	f.tree = f.newTree("linux/amd64")
	for range 2 {
		for _, file := range ofIndex {
			f.attr("a/tags/1/" + file)
		}
		f.read("a/tags/1/manifest.json")
	}
	f.wantAsked("in spite of the cache", "GET a:1", "GET a:"+images[0].String())
	if !f.reported(syscall.ENOTDIR) {
		t.Error("nobody was told of the cache")
	}
	f.pass(tagTTL)
	f.read("a/tags/1/manifest.json")
	f.wantAsked("after the TTL", "HEAD a:1")
	// What cannot be written down is not listed; it can be looked up.
	if got, err := f.list("a"); len(got) != 0 || err != nil {
		t.Errorf("the repository lists %q, %v", got, err)
	}
	f.server.Untag("a", "1")
	f.pass(tagTTL)
	if _, err := f.lookup("a/tags/1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
}

// Manifests that were used longest ago leave memory, not the cache.
func TestManifestsAreBounded(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	m, ok := f.tree.manifests.get(manifestKey{f.path("a"), d})
	if !ok {
		t.Fatal("a manifest that was just used is not in memory")
	}
	limit := f.tree.manifests.limit
	if limit != defaultMemory/2 {
		t.Errorf("%d bytes of manifests may be in memory, want half of %d", limit, defaultMemory)
	}
	m.Bytes = make([]byte, limit/8)
	for i := range 20 {
		f.tree.manifests.put(manifestKey{f.path("b"), registrytest.DigestOf([]byte{byte(i)})}, m)
		if n := f.tree.manifests.bytes; n > limit {
			t.Fatalf("%d bytes of manifests in memory", n)
		}
	}
	if _, ok := f.tree.manifests.get(manifestKey{f.path("a"), d}); ok {
		t.Error("the manifest used longest ago is still in memory")
	}
	f.asked()
	f.read("a/digests/" + d.String() + "/manifest.json")
	f.wantAsked("for a manifest that is in the cache")
}
