package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// What there is of each kind of reference.
var (
	ofImage      = []string{"manifest.json", "digest", "referrers", "resolved-manifest.json", "resolved-digest", "config.json", "layers", "oci", "image.tar", "docker-save.tar", "rootfs"}
	ofArtifact   = ofImage[:8]
	ofOther      = ofImage[:5]
	ofIndex      = append([]string{"manifest.json", "digest", "platform.json", "platforms"}, ofImage[2:]...)
	ofIndexAlone = ofIndex[:5]
)

func (f *fixture) pushIndex(repo, tag string, specs ...registrytest.ImageSpec) (index v1.Hash, images []v1.Hash) {
	f.t.Helper()
	var made []v1.Image
	for _, spec := range specs {
		image := registrytest.Image(f.t, spec)
		d, err := image.Digest()
		if err != nil {
			f.t.Fatal(err)
		}
		made, images = append(made, image), append(images, d)
	}
	return f.server.PushIndex(f.t, repo, tag, registrytest.Index(f.t, made...)), images
}

// manifestFor is a manifest as hostile or as odd as a test wants it.
func manifestFor(config, layers string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"config":%s,"layers":%s}`, config, layers)
}

func descriptor(mediaType string, content string, size int64) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, registrytest.DigestOf([]byte(content)), size)
}

// TestImageDirectory holds what there is of each kind of reference, what it
// costs, and what is said of what is missing.
func TestImageDirectory(t *testing.T) {
	const config = string(types.OCIConfigJSON)
	image := manifestFor(descriptor(config, "{}", 2), "[]")
	entry := func(content []byte, size int, platform string) string {
		parts := strings.Split(platform, "/")
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q}}`,
			types.OCIManifestSchema1, registrytest.DigestOf(content), size, parts[0], parts[1])
	}
	index := func(entries ...string) []byte {
		return []byte(`{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`)
	}
	schema1 := []byte(`{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[]}`)
	cases := map[string]struct {
		mediaType types.MediaType
		content   []byte
		files     []string
		absent    error // why the others are not there
		listing   error // how the listing ends
	}{
		"image":                 {types.OCIManifestSchema1, image, ofImage, nil, nil},
		"index":                 {types.OCIImageIndex, index(entry(image, len(image), "linux/arm64"), entry(image, len(image), "linux/amd64")), ofIndex, nil, nil},
		"artifact":              {types.OCIManifestSchema1, manifestFor(descriptor("application/vnd.example+json", "{}", 2), "[]"), ofArtifact, ErrNotImage, nil},
		"artifact without":      {types.OCIManifestSchema1, manifestFor(descriptor("", "{}", 2), "[]"), ofArtifact, ErrNotImage, nil},
		"schema 1":              {types.DockerManifestSchema1, schema1, ofOther, ErrNotImage, nil},
		"schema 2, octets":      {types.DockerManifestSchema2, manifestFor(descriptor("application/octet-stream", "{}", 2), "[]"), ofImage, nil, nil},
		"unknown kind":          {"application/vnd.example.manifest+json", image, ofOther, ErrNotImage, nil},
		"not JSON":              {types.OCIManifestSchema1, []byte("<html>"), ofOther, ErrNotImage, nil},
		"negative size":         {types.OCIManifestSchema1, manifestFor(descriptor(config, "{}", -2), "[]"), ofOther, ErrNotImage, nil},
		"too many layers":       {types.OCIManifestSchema1, manifestFor(descriptor(config, "{}", 2), "["+strings.Repeat("{},", 2000)+"{}]"), ofOther, ErrNotImage, nil},
		"other platforms":       {types.OCIImageIndex, index(entry(image, len(image), "linux/arm64"), entry(image, len(image), "windows/amd64")), ofIndexAlone, ErrNoPlatform, nil},
		"attestations":          {types.OCIImageIndex, index(entry(image, len(image), "unknown/unknown")), ofIndexAlone, ErrNoPlatform, nil},
		"empty index":           {types.OCIImageIndex, index(), ofIndexAlone, ErrNoPlatform, nil},
		"index in an index":     {types.OCIImageIndex, index(strings.Replace(entry(image, len(image), "linux/amd64"), string(types.OCIManifestSchema1), string(types.OCIImageIndex), 1)), ofIndexAlone, ErrNoPlatform, nil},
		"sparse index":          {types.OCIImageIndex, index(entry([]byte("was not copied"), 14, "linux/amd64")), ofIndexAlone, ErrNoPlatform, nil},
		"index of another size": {types.OCIImageIndex, index(entry(image, len(image)+1, "linux/amd64")), ofIndexAlone, registry.ErrMismatch, registry.ErrMismatch},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			f.server.PutManifest("a", "", types.OCIManifestSchema1, image)
			d := f.server.PutManifest("a", "1", c.mediaType, c.content)
			for _, dir := range []string{"a/tags/1", "a/digests/" + d.String()} {
				got, err := f.list(dir)
				if !slices.Equal(got, c.files) || !errors.Is(err, c.listing) {
					t.Errorf("%s lists %q, %v, want %q, %v", dir, got, err, c.files, c.listing)
				}
				if got := f.read(dir + "/manifest.json"); got != string(c.content) {
					t.Errorf("%s/manifest.json is %q", dir, got)
				}
				if got := f.read(dir + "/digest"); got != d.String()+"\n" {
					t.Errorf("%s/digest is %q", dir, got)
				}
				for _, file := range []string{"resolved-manifest.json", "resolved-digest", "image.tar", "rootfs"} {
					_, err := f.lookup(dir + "/" + file)
					if slices.Contains(c.files, file) {
						if err != nil {
							t.Errorf("%s/%s: %v", dir, file, err)
						}
						continue
					}
					if !errors.Is(err, c.absent) {
						t.Errorf("%s/%s: error %v, want %v", dir, file, err, c.absent)
					}
				}
			}
			if errors.Is(c.absent, ErrNoPlatform) && !f.reported(ErrNoPlatform) {
				t.Error("nobody was told why files are missing")
			}
		})
	}
}

// What an index costs is only what was asked of it.
func TestRequestsOfAnIndex(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	index, images := f.pushIndex("a", "1", registrytest.ImageSpec{Architecture: "arm64"}, registrytest.ImageSpec{Architecture: "amd64"})
	f.read("a/tags/1/manifest.json")
	f.read("a/tags/1/digest")
	f.wantAsked("for the index", "GET a:1")
	if got := f.read("a/tags/1/resolved-digest"); got != images[1].String()+"\n" {
		t.Errorf("resolved to %q, want %s", got, images[1])
	}
	f.attr("a/tags/1/image.tar")
	f.attr("a/digests/" + index.String() + "/image.tar")
	f.attr("a/digests/" + images[1].String() + "/image.tar")
	f.wantAsked("for its image", "GET a:"+images[1].String())
	if n := f.server.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for blobs to stat image.tar", n)
	}

	arm := f.newTree("linux/arm64")
	if child, err := walk(t.Context(), arm, f.path("a/tags/1/resolved-digest")); err != nil {
		t.Fatal(err)
	} else if open, err := child.Node.(File).Open(t.Context()); err != nil || string(readAll(t, open)) != images[0].String()+"\n" {
		t.Errorf("on arm64 it is not %s: %v", images[0], err)
	}
}

// An inode number stands for what is in a file, wherever it is found.
func TestInodesStandForContent(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	f.server.Tag("a", "latest", d)
	f.push("b", "1", 1)
	index, images := f.pushIndex("a", "index", registrytest.ImageSpec{Layers: []int64{5}, Seed: 7})
	f.push("a", "2", 2)
	digest := "a/digests/" + d.String()
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"a/tags/1/manifest.json", "a/tags/latest/manifest.json", true},
		{"a/tags/1/manifest.json", digest + "/manifest.json", true},
		{"a/tags/1/digest", digest + "/digest", true},
		{"a/tags/1/image.tar", "a/tags/latest/image.tar", false},
		{"a/tags/1/image.tar", digest + "/image.tar", false},
		{"a/tags/1/image.tar", "a/tags/1@" + d.String() + "/image.tar", true},
		{"a/tags/1@" + d.String() + "/image.tar", "a/tags/x@" + d.String() + "/image.tar", false},
		{"a/tags/1/manifest.json", "b/tags/1/manifest.json", false},
		{"a/tags/1/manifest.json", "a/tags/2/manifest.json", false},
		{"a/tags/1/manifest.json", "a/tags/1/digest", false},
		{"a/tags/index/manifest.json", "a/tags/index/resolved-manifest.json", false},
		{"a/tags/index/resolved-manifest.json", "a/digests/" + images[0].String() + "/resolved-manifest.json", true},
		{"a/digests/" + index.String() + "/image.tar", "a/digests/" + images[0].String() + "/image.tar", true},
		{"a/tags/1", "a/tags/latest", false},
		{"a/tags/1", digest, false},
	} {
		one, other := f.attr(c.one), f.attr(c.other)
		if (one.Ino == other.Ino) != c.same {
			t.Errorf("%s is inode %d, %s is %d, want the same: %v", c.one, one.Ino, c.other, other.Ino, c.same)
		}
		if c.same && one != other {
			t.Errorf("one inode with two attributes: %+v, %+v", one, other)
		}
		if c.same && f.read(c.one) != f.read(c.other) {
			t.Errorf("%s and %s are one inode, and differ", c.one, c.other)
		}
	}
	if got := f.attr("a/tags/1/image.tar").Size; got != int64(len(f.read("a/tags/1/image.tar"))) {
		t.Errorf("image.tar is said to have %d bytes", got)
	}
}

// The time of a file is when its digest was first seen, and stays.
func TestTimes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.push("a", "2", 2)
	first := f.attr("a/tags/1/image.tar").ModTime
	if !first.Equal(f.clock()) {
		t.Errorf("first seen %v, want %v", first, f.clock())
	}
	f.pass(tagTTL)
	second := f.attr("a/tags/2/image.tar").ModTime
	if !second.Equal(f.clock()) {
		t.Errorf("first seen %v, want %v", second, f.clock())
	}
	f.pass(tagTTL)
	f.tree = f.newTree("linux/amd64") // after a restart
	if got := f.attr("a/tags/1/image.tar").ModTime; !got.Equal(first) {
		t.Errorf("time changed from %v to %v", first, got)
	}
	if got := f.attr("a/tags/1").ModTime; !got.Equal(first) {
		t.Errorf("the directory's time is %v, want its image's, %v", got, first)
	}
}

// Tree.Image is what the commands use.
func TestImage(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	_, images := f.pushIndex("a", "1", registrytest.ImageSpec{Layers: []int64{100}})
	for _, s := range []string{"a:1", "a@" + images[0].String(), "a:1@" + images[0].String()} {
		ref, err := registry.ParseReference(f.path(s))
		if err != nil {
			t.Fatal(err)
		}
		i, err := f.tree.Image(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := i.Resolved(t.Context())
		if err != nil || resolved.Digest != images[0] {
			t.Errorf("%s resolves to %s, %v", s, resolved.Digest, err)
		}
		layout, err := i.Archive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		uncached, err := ArchiveOf(ref, resolved)
		if err != nil || uncached.Size() != layout.Size() {
			t.Errorf("%s: archives of %d and %d bytes, %v", s, layout.Size(), uncached.Size(), err)
		}
		open, err := i.OpenTar(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b := readAll(t, open); int64(len(b)) != layout.Size() || strings.Contains(string(b), "repositories") != (ref.Tag != "") {
			t.Errorf("%s: %d bytes, want %d, and a name only where there is a tag", s, len(b), layout.Size())
		}
		if err := open.Close(); err != nil {
			t.Error(err)
		}
	}
	ref, err := registry.ParseReference(f.path("a:2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.tree.Image(t.Context(), ref); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
}

// FuzzArchiveOf gives manifests of hostile registries to what decides whether
// there is an image.tar, and how long it is.
func FuzzArchiveOf(f *testing.F) {
	good, err := json.Marshal(v1.Manifest{SchemaVersion: 2, Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: registrytest.DigestOf(nil)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(types.OCIManifestSchema1), good)
	f.Add(string(types.DockerManifestSchema2), []byte(`{"config":{"size":-1},"layers":[{}]}`))
	f.Add(string(types.DockerManifestSchema2), []byte(`{"config":null,"layers":null}`))
	f.Fuzz(func(t *testing.T, mediaType string, content []byte) {
		a, err := ArchiveOf(registry.Reference{Host: "a.io", Repository: "a", Tag: "1"}, cache.Manifest{
			MediaType: mediaType, Digest: registrytest.DigestOf(content), Bytes: content,
		})
		switch {
		case err != nil && !errors.Is(err, ErrNotImage):
			t.Errorf("error %v, want %v", err, ErrNotImage)
		case err == nil && (a.Size() <= int64(len(content)) || len(a.Blobs()) == 0):
			t.Errorf("archive of %d bytes, %d blobs", a.Size(), len(a.Blobs()))
		}
	})
}
