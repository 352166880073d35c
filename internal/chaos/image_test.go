package chaos

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// An image is one that was pushed, and what a mount has to show of it.
type image struct {
	dir    string // below a mount
	digest v1.Hash
	layers []v1.Hash
	tar    string // SHA-256 of image.tar
	size   int64  // of image.tar
	path   string // of a copy that no mount made
	blobs  int64  // bytes of config and layers
}

// push makes an image, gives it to a registry that is well, and finds out by a
// pull, which no mount is part of, what its tarball has to be.
func (b *bench) push(t *testing.T, r *registrytest.Server, repository string, spec registrytest.ImageSpec) image {
	t.Helper()
	made := registrytest.Image(t, spec)
	i := image{dir: filepath.Join(r.Host(), repository, "tags", "1"), digest: r.Push(t, repository, "1", made)}
	manifest, err := made.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	i.blobs = manifest.Config.Size
	for _, l := range manifest.Layers {
		i.layers = append(i.layers, l.Digest)
		i.blobs += l.Size
	}
	home := b.home(t, "pulled")
	i.path = filepath.Join(home, "image.tar")
	b.must(t, program, "pull", "--anonymous", "--no-manifests", "--no-hashes", "--platform", "linux/amd64", "--cache-dir", filepath.Join(home, "cache"),
		"--path", i.path, r.Host()+"/"+repository+":1")
	if err := os.RemoveAll(filepath.Join(home, "cache")); err != nil {
		t.Fatal(err)
	}
	o := b.must(t, "cat", i.path)
	i.tar, i.size = o.sum, o.size
	r.Forget()
	return i
}

// isIt says whether a program wrote the image's tarball.
func (i image) isIt(o outcome) bool { return o.err == nil && o.sum == i.tar }
