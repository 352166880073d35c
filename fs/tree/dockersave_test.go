package tree

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// attested pushes an index of an image with an attestation, as repo:tag, and returns
// the digests of the index, the image and the attestation.
func (f *fixture) attested(repo, tag string) (index, image, attestation v1.Hash) {
	f.t.Helper()
	of := registrytest.Image(f.t, registrytest.ImageSpec{Layers: []int64{40_000, 10}})
	about := registrytest.Image(f.t, registrytest.ImageSpec{Layers: []int64{700}, OS: "unknown", Architecture: "unknown"})
	image, err := of.Digest()
	if err != nil {
		f.t.Fatal(err)
	}
	if attestation, err = about.Digest(); err != nil {
		f.t.Fatal(err)
	}
	both := mutate.AppendManifests(registrytest.Index(f.t, of), mutate.IndexAddendum{
		Add: about, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.String(),
			},
		},
	})
	return f.server.PushIndex(f.t, repo, tag, both), image, attestation
}

// dockerSave is docker-save.tar of what a reference names, as an image directory
// has it.
func (f *fixture) dockerSave(reference string, name imagetar.Name) (Node, error) {
	f.t.Helper()
	ref, err := registry.ParseReference(reference)
	if err != nil {
		f.t.Fatal(err)
	}
	i, err := f.tree.Image(f.t.Context(), ref)
	if err != nil {
		f.t.Fatal(err)
	}
	resolved, err := i.Resolved(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	file := i.dockerSaveFile(resolved)
	if file.name != name {
		f.t.Errorf("%s is named %q, want %q", reference, file.name, name)
	}
	_, err = file.Attr(f.t.Context())
	return file, err
}

func (f *fixture) openNode(node Node) OpenFile {
	f.t.Helper()
	open, err := node.(File).Open(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := open.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return open
}

func TestDockerSave(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	index, image, attestation := f.attested("a/b", "1")
	name := imagetar.Name{Repository: f.server.Host() + "/a/b", Tag: "1"}
	f.server.Forget()
	node, err := f.dockerSave(name.String(), name)
	if err != nil {
		t.Fatal(err)
	}
	f.wantAsked("to describe it", "GET a/b:1", "GET a/b:"+image.String(), "GET a/b:"+attestation.String())
	if f.server.Count(registrytest.Blob) != 0 {
		t.Error("a blob was asked for to describe it")
	}
	attr, err := node.Attr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open := f.openNode(node)
	content := readAll(t, open)
	if attr.Size != int64(len(content)) {
		t.Errorf("it has %d bytes, stat says %d", len(content), attr.Size)
	}
	if _, ok := open.(Backed); ok {
		t.Error("a kernel would be given a file for it, whose blocks cannot be shared")
	}
	names := blobsIn(t, bytes.NewReader(content))
	// The image's and the attestation's manifest, config and layers.
	if want := 2 + 4 + 3 + 3; len(names) != want || !slices.IsSorted(names) {
		t.Errorf("members %q, want %d", names, want)
	}
	for _, d := range []v1.Hash{image, attestation} {
		if !slices.Contains(names, "blobs/sha256/"+d.Hex) {
			t.Errorf("it does not have %s", d)
		}
	}
	if slices.Contains(names, "blobs/sha256/"+index.Hex) {
		t.Error("it has the index")
	}
	if err := iotest.TestReader(section(t, open), content); err != nil {
		t.Error(err)
	}

	// By digest it has no name, and is another file.
	unnamed, err := f.dockerSave(f.server.Host()+"/a/b@"+index.String(), imagetar.Name{})
	if err != nil {
		t.Fatal(err)
	}
	if b := readAll(t, f.openNode(unnamed)); !bytes.Contains(b, []byte(`"RepoTags":null`)) || bytes.Contains(b, []byte(name.String())) {
		t.Error("by digest it has a name")
	}
	// Of the image alone nothing is known of an attestation.
	alone, err := f.dockerSave(f.server.Host()+"/a/b@"+image.String(), imagetar.Name{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(blobsIn(t, bytes.NewReader(readAll(t, f.openNode(alone)))), "blobs/sha256/"+attestation.Hex) {
		t.Error("without its index it has an attestation")
	}
	numbers := map[uint64]bool{}
	for _, n := range []Node{node, unnamed, alone} {
		attr, err := n.Attr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		numbers[attr.Ino] = true
	}
	if len(numbers) != 3 {
		t.Errorf("three files have %d inode numbers", len(numbers))
	}
}

func TestDockerSaveAbsent(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	index, image, attestation := f.attested("a", "1")
	other := newFixture(t, registrytest.Options{})
	for _, d := range []v1.Hash{index, image} {
		m, err := f.tree.Image(t.Context(), registry.Reference{Host: f.server.Host(), Repository: "a", Digest: d})
		if err != nil {
			t.Fatal(err)
		}
		other.server.PutManifest("a", "1", mediaType(m.Manifest()), m.Manifest().Bytes)
	}
	by := other.server.Host() + "/a@" + index.String()
	if _, err := other.dockerSave(by, imagetar.Name{}); !errors.Is(err, ErrNotSaved) || !errors.Is(err, iofs.ErrNotExist) ||
		!strings.Contains(err.Error(), attestation.String()) {
		t.Errorf("without the attestation: %v", err)
	}
	// What fails is no absence, and is asked again.
	failing := newFixture(t, registrytest.Options{})
	index, _, attestation = failing.attested("a", "1")
	by = failing.server.Host() + "/a@" + index.String()
	failing.server.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Reference == attestation.String() {
			registrytest.Refuse(http.StatusBadGateway, "TESTED", "refused by the test")(w, r, req, next)
			return
		}
		next(w, r)
	})
	if _, err := failing.dockerSave(by, imagetar.Name{}); err == nil || errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("with a registry that fails: %v", err)
	}
	failing.server.Heal()
	failing.tree = failing.newTree("linux/amd64")
	if _, err := failing.dockerSave(by, imagetar.Name{}); err != nil {
		t.Errorf("after it failed: %v", err)
	}
}
