package artifacts

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// digests are those of what the tag names.
var digests = map[string]string{
	"buildkit":       "f5a435f2e9ec987b271bcdcdedbc5ea2ad61ba29c1c05afdd8c182450cf47bea",
	"variants":       "7550cda0222a0d0399bb8babe1321d04a9b838f866262b544232665ea392eeda",
	"windows":        "1b217c8411188025b4472019b1c6a36d8419a94025442cc392ccbb2c6c73f4ea",
	"twenty":         "e3a210900e0a2652b79e2bac91092810ffba41ccd50d57473915fb5b7188958c",
	"nested":         "bc4849e2fd186fb7db39479c256ea6f96b186b94a5938325c84a5463cf4ad4a5",
	"manifest-list":  "d35500af42ce639de43f15756ba3b61ffee90a0878cc362cf79475c7ad0a84b0",
	"layers":         "7452d81b180136884995a16ec4f3cd43b0124393bbbf8e775334bc13e45599c7",
	"schema2":        "18d59d50c266e12af419d6a809ee7ed0be0de7e11d8e0476fb8c3c14c00f8843",
	"schema1":        "8243ed88197a9601c1d290a73078984a0ac2b2b4039fa8f197030adbdd46ac9a",
	"chart":          "aff8c0d750b340873a1b21beb7b35d52b240ed2d25fe2f711b5743ce90288af0",
	"files":          "65453e328714be9bcb35e7ec9628f991430f78efd30dfa05cad95e88217e355f",
	"empty-config":   "efbef6d48e14dd3dd394779d75823ca802790a715ae86ad81492f647862e0138",
	"signed":         "6c520b60ecf9d114bfc8c18d21b426f631505a7bc0fade7697b166ff36037b64",
	"signed-by-tags": "893da33378047b55f446f2aa952e98558213b5d4231a413585b7acfecdf45328",
}

func TestDigests(t *testing.T) {
	all := All()
	for _, f := range all {
		if got, want := f.Digest.String(), "sha256:"+digests[f.Name]; got != want {
			t.Errorf("%s is %s, want %s", f.Name, got, want)
		}
		if f.Tags[Tag] != f.Digest {
			t.Errorf("%s: the tag names %s", f.Name, f.Tags[Tag])
		}
	}
	if len(all) != len(digests) {
		t.Errorf("%d fixtures, %d digests", len(all), len(digests))
	}
}

// references are what a manifest refers to, of every kind.
type references struct {
	Config    *v1.Descriptor
	Layers    []v1.Descriptor
	Manifests []v1.Descriptor
	Subject   *v1.Descriptor
	FSLayers  []struct{ BlobSum v1.Hash }
}

// TestComplete: what manifests refer to is there before them, as they say, and
// nothing else is.
func TestComplete(t *testing.T) {
	for _, f := range All() {
		t.Run(f.Name, func(t *testing.T) {
			blobs, manifests := maps.Clone(f.Blobs), map[v1.Hash]int64{}
			blob := func(d v1.Hash, size int64) {
				if b, ok := f.Blobs[d]; !ok || size >= 0 && int64(len(b)) != size {
					t.Errorf("no blob %s of %d bytes", d, size)
				}
				delete(blobs, d)
			}
			for _, m := range f.Manifests {
				var refers references
				if err := json.Unmarshal(m.Bytes, &refers); err != nil {
					t.Fatal(err)
				}
				if refers.Config != nil {
					blob(refers.Config.Digest, refers.Config.Size)
				}
				for _, d := range refers.Layers {
					blob(d.Digest, d.Size)
				}
				for _, d := range refers.FSLayers {
					blob(d.BlobSum, -1)
				}
				if refers.Subject != nil {
					refers.Manifests = append(refers.Manifests, *refers.Subject)
				}
				for _, d := range refers.Manifests {
					if size, ok := manifests[d.Digest]; !ok || size != d.Size {
						t.Errorf("no manifest %s of %d bytes before %s", d.Digest, d.Size, m.Digest)
					}
				}
				manifests[m.Digest] = int64(len(m.Bytes))
			}
			if len(blobs) > 0 {
				t.Errorf("nothing refers to %d blobs", len(blobs))
			}
			for tag, d := range f.Tags {
				if _, ok := manifests[d]; !ok {
					t.Errorf("%s names %s, which is not there", tag, d)
				}
			}
		})
	}
}

// TestImages: each image is what its manifest and config say, to somebody who takes
// its layers apart.
func TestImages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	images := 0
	for _, f := range All() {
		f.Put(s, f.Name)
		for _, m := range f.Manifests {
			var refers references
			if err := json.Unmarshal(m.Bytes, &refers); err != nil {
				t.Fatal(err)
			}
			// Nobody can take an attestation apart: its layers are no tarballs.
			if refers.Config == nil || !refers.Config.MediaType.IsConfig() || slices.ContainsFunc(refers.Layers, func(d v1.Descriptor) bool { return !d.MediaType.IsLayer() }) {
				continue
			}
			images++
			ref, err := name.NewDigest(s.Host()+"/"+f.Name+"@"+m.Digest.String(), name.Insecure)
			if err != nil {
				t.Fatal(err)
			}
			image, err := remote.Image(ref, remote.WithContext(t.Context()), remote.WithTransport(http.DefaultTransport))
			if err != nil {
				t.Fatal(err)
			}
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			layers, err := image.Layers()
			if err != nil {
				t.Fatal(err)
			}
			diffIDs := []v1.Hash{}
			made := 0
			for _, h := range config.History {
				if !h.EmptyLayer {
					made++
				}
			}
			for _, layer := range layers {
				diffIDs = append(diffIDs, tarballOf(t, layer))
			}
			if !slices.Equal(diffIDs, config.RootFS.DiffIDs) || made != len(layers) {
				t.Errorf("%s@%s: the layers are %v, the config says %v, and its history has %d", f.Name, m.Digest, diffIDs, config.RootFS.DiffIDs, made)
			}
		}
	}
	if images < 40 {
		t.Errorf("only %d images", images)
	}
}

// tarballOf is the digest of a layer's tarball.
func tarballOf(t *testing.T, layer v1.Layer) v1.Hash {
	t.Helper()
	r, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := v1.SHA256(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPut: our client gets every manifest by the digest that it has here, those of
// schema 1 too.
func TestPut(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	client := registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Retries: -1})
	t.Cleanup(client.Close)
	for _, f := range All() {
		f.Put(s, f.Name)
		r, err := client.Repository(s.Host() + "/" + f.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Manifests {
			got, err := r.Manifest(t.Context(), m.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			if got.Descriptor.Digest != m.Digest || got.Descriptor.MediaType != m.MediaType {
				t.Errorf("%s: %s of type %s, want %s of type %s", f.Name, got.Descriptor.Digest, got.Descriptor.MediaType, m.Digest, m.MediaType)
			}
		}
		for tag, want := range f.Tags {
			if got, err := r.Resolve(t.Context(), tag); err != nil || got.Digest != want {
				t.Errorf("%s:%s is %s, %v, want %s", f.Name, tag, got.Digest, err, want)
			}
		}
	}
}

// TestPush: the distribution registry takes all but what no registry takes any more.
func TestPush(t *testing.T) {
	s := distributiontest.Start(t, distributiontest.Open)
	for _, f := range All() {
		err := f.Push(t.Context(), s.Host, f.Name)
		if f.ReadOnly != (err != nil) {
			t.Errorf("push %s: %v", f.Name, err)
		}
		if err != nil {
			continue
		}
		for tag, want := range f.Tags {
			ref, err := name.NewTag(s.Host+"/"+f.Name+":"+tag, name.Insecure)
			if err != nil {
				t.Fatal(err)
			}
			got, err := remote.Head(ref, remote.WithContext(t.Context()), remote.WithTransport(http.DefaultTransport))
			if err != nil || got.Digest != want {
				t.Errorf("%s:%s is %v, %v, want %s", f.Name, tag, got, err, want)
			}
		}
	}
}
