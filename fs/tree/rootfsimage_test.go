package tree

import (
	"errors"
	iofs "io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// "A layer that is malformed, or has other bytes than the image says, is EIO, for all that it decides, and that alone."
//
// The config says of plain bytes what they are, and is asked for where a layer is fetched.
func TestRootfsOfOtherBytes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	good := filesLayer(t, registrytest.Regular("good/a", "1"))
	other := filesLayer(t, registrytest.Regular("other/b", "2"))
	other.Plain = good.Plain
	f.pushLayers("app", "1", other, good)
	if got := contentOf(t, f.find("app/tags/1/rootfs/good/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
	for _, tree := range []*Tree{f.tree, f.newTree("linux/amd64")} {
		if _, err := tree.Find(t.Context(), f.path("app/tags/1/rootfs/other/b")); !errors.Is(err, rootfs.ErrMismatch) {
			t.Errorf("a file of a layer that is another than the config says: %v", err)
		}
	}
}

// TestRootfsLimits: neither layers without number nor what is in them takes all memory.
func TestRootfsLimits(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	small := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("most", "1", slices.Repeat([]v1.Layer{small}, maxLayers)...)
	if got := contentOf(t, f.find("most/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a of as many layers as may be is %q", got)
	}
	f.pushLayers("more", "1", slices.Repeat([]v1.Layer{small}, maxLayers+1)...)
	if _, err := f.tree.Find(t.Context(), f.path("more/tags/1/rootfs/a")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("with one more layer: %v", err)
	}

	f.tree.imageBytes = 10_000
	many := []registrytest.Member{registrytest.Regular("below", "2")}
	for n := range 1000 {
		many = append(many, registrytest.Regular("many/"+strconv.Itoa(n), ""))
	}
	f.pushLayers("large", "1", filesLayer(t, many...), small)
	if got := contentOf(t, f.find("large/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a of the layer above is %q", got)
	}
	if _, err := f.tree.Find(t.Context(), f.path("large/tags/1/rootfs/below")); !errors.Is(err, rootfs.ErrTooLarge) {
		t.Errorf("a file of a layer that takes too much: %v", err)
	}
}

// "What has a layer that is no archive of files, or that is found elsewhere than in a registry, has no `rootfs`, and neither have artifacts."
func TestRootfsAbsent(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.pushLayers("app", "wasm", static.NewLayer([]byte("x"), "application/vnd.wasm.content.layer.v1+wasm"))
	f.pushLayers("app", "foreign", static.NewLayer([]byte("x"), types.DockerForeignLayer))
	for _, tag := range []string{"wasm", "foreign"} {
		if _, err := f.lookup("app/tags/" + tag + "/rootfs"); !errors.Is(err, errNoFiles) {
			t.Errorf("%s: %v", tag, err)
		}
		if all, err := f.list("app/tags/" + tag); err != nil || slices.Contains(all, rootfsName) {
			t.Errorf("%s has %v, %v", tag, all, err)
		}
	}
	if !f.reported(errNoFiles) {
		t.Error("nobody was told why")
	}
}

// "A layer that is malformed, or has other bytes than the image says, is EIO, for all that it decides, and that alone."
func TestRootfsFails(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	bad := static.NewLayer([]byte("this is no archive"), types.OCILayer)
	f.pushLayers("app", "1", bad, filesLayer(t, registrytest.Regular("a", "1")))
	if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
	root := f.find("app/tags/1/rootfs").(Dir)
	if _, err := root.Lookup(t.Context(), "b"); !errors.Is(err, rootfs.ErrFormat) || errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what the layer decides is %v", err)
	}
	asked := f.blobsAsked()
	if _, err := names(root.List(t.Context())); !errors.Is(err, rootfs.ErrFormat) {
		t.Errorf("a listing that has it is %v", err)
	}
	if again := f.blobsAsked(); !maps.Equal(asked, again) {
		t.Errorf("it is asked for again at once: %v", again)
	}
}

// TestRootfsWrongPlain: the config says what the plain layers are.
func TestRootfsWrongPlain(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("app", "1", registrytest.Layer{Layer: layer, Plain: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}})
	f.read("app/tags/1/config.json")
	_, err := f.tree.Find(t.Context(), f.path("app/tags/1/rootfs/a"))
	if !errors.Is(err, rootfs.ErrMismatch) {
		t.Errorf("a layer with other bytes: %v", err)
	}
}

// TestRootfsWrongBytes: "A layer that is malformed, or has other bytes than the image says, is
// EIO, for all that it decides, and that alone." The time in the header of a gzip member is of
// no use to anybody: the digest of the layer alone tells, and nothing is kept.
func TestRootfsWrongBytes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("app", "1", layer)
	f.pushLayers("other", "1", layer)
	d, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Reference == d.String() {
			registrytest.FlipAt(5)(w, r, req, next)
			return
		}
		next(w, r)
	}))
	if _, err := f.tree.Find(t.Context(), f.path("app/tags/1/rootfs/a")); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("a layer with other bytes: %v", err)
	}
	if b, err := f.store.Layer(cache.LayerID{Blob: d}).Index(); err == nil {
		t.Errorf("an index of %d bytes is kept of it", len(b))
	}
	f.server.Heal()
	if got := contentOf(t, f.find("other/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
}
