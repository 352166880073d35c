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

	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// putIndex pushes an index of descriptors.
func (f *fixture) putIndex(repo, tag string, manifests ...v1.Descriptor) v1.Hash {
	f.t.Helper()
	b, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.server.PutManifest(repo, tag, types.OCIImageIndex, b)
}

// entryFor pushes an image and returns the entry for it.
func (f *fixture) entryFor(repo string, seed uint64, p v1.Platform) v1.Descriptor {
	f.t.Helper()
	image := registrytest.Image(f.t, registrytest.ImageSpec{Layers: []int64{10}, Seed: seed, OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	f.server.Push(f.t, repo, "", image)
	size, err := image.Size()
	if err != nil {
		f.t.Fatal(err)
	}
	d, err := image.Digest()
	if err != nil {
		f.t.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: d, Size: size, Platform: &p}
}

// "platforms/ has each image of an index, and finds the one that is for a platform."
// Listing it fetches nothing; what is in one costs its manifest.
func TestPlatforms(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	entries := []v1.Descriptor{
		f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "amd64"}),
		f.entryFor("a", 2, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}),
		f.entryFor("a", 3, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}),
		f.entryFor("a", 4, v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"}),
		f.entryFor("a", 5, v1.Platform{OS: "linux", Architecture: "amd64", Features: []string{"sse4"}}),
		f.entryFor("a", 6, v1.Platform{OS: "unknown", Architecture: "unknown"}),
		f.entryFor("a", 7, v1.Platform{OS: "../..", Architecture: "amd64"}),
	}
	f.putIndex("a", "1", entries...)
	names, err := f.list("a/tags/1/platforms")
	want := []string{"linux-amd64", "linux-arm64-v8", "linux-arm-v6", "windows-amd64-10.0.17763.1", "linux-amd64-" + entries[4].Digest.Hex[:12]}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("listed %q, %v, want %q", names, err, want)
	}
	for _, name := range names {
		f.attr("a/tags/1/platforms/" + name)
	}
	f.wantAsked("to look around", "GET a:1")
	for n, name := range want {
		if got := f.read("a/tags/1/platforms/" + name + "/digest"); got != entries[n].Digest.String()+"\n" {
			t.Errorf("%s is %s, want %s", name, got, entries[n].Digest)
		}
		if open := f.read("a/tags/1/platforms/" + name + "/image.tar"); !strings.Contains(open, `"RepoTags":["`+f.path("a:1")+`"]`) {
			t.Errorf("%s/image.tar is not named as its parent", name)
		}
	}
	if got := len(f.asked()); got != len(want) {
		t.Errorf("%d requests for manifests, want one for each of %d", got, len(want))
	}
	for name, to := range map[string]string{
		"linux-arm64": "linux-arm64-v8", "linux-arm-v7": "linux-arm-v6", "windows-amd64": "windows-amd64-10.0.17763.1", "linux-amd64-v3": "linux-amd64",
		"linux-386": "", "linux": "", "linux-amd64-x-y-z": "", "-": "", "..-..": "", "unknown-unknown": "",
	} {
		child, err := f.lookup("a/tags/1/platforms/" + name)
		if to == "" {
			if !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("%s: %v, want not exist", name, err)
			}
			continue
		}
		link, ok := child.Node.(Link)
		if !ok {
			t.Errorf("%s: %v, want a link", name, err)
			continue
		}
		if target, err := link.Target(t.Context()); target != to || err != nil {
			t.Errorf("%s leads to %q, %v, want %q", name, target, err, to)
		}
	}
	if _, err := f.lookup("a/digests/" + entries[0].Digest.String() + "/platforms"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("platforms of an image: %v", err)
	}
}

// "platform.json says which image of an index the mount takes, and why no other."
func TestPlatformFile(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	attestation := f.entryFor("a", 9, v1.Platform{OS: "unknown", Architecture: "unknown"})
	attestation.Annotations = map[string]string{referenceTypeKey: attestationType, referenceDigestKey: "sha256:" + strings.Repeat("0", 64)}
	entries := []v1.Descriptor{
		f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}),
		f.entryFor("a", 2, v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}),
		f.entryFor("a", 3, v1.Platform{OS: "linux", Architecture: "amd64"}),
		f.entryFor("a", 4, v1.Platform{OS: "linux", Architecture: "amd64"}),
		attestation,
		{MediaType: types.OCIManifestSchema1, Digest: attestation.Digest, Size: 1},
	}
	f.putIndex("a", "1", entries...)
	text := f.read("a/tags/1/platform.json")
	var got struct {
		Requested string
		Chosen    *candidate
		Refused   []candidate
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Requested != "linux/amd64" || got.Chosen == nil || got.Chosen.Digest != entries[2].Digest.String() || got.Chosen.Name != "linux-amd64" {
		t.Errorf("asked %q, chose %+v", got.Requested, got.Chosen)
	}
	var reasons []string
	for _, c := range got.Refused {
		reasons = append(reasons, c.Reason)
	}
	if want := []string{"another architecture", "another operating system", "another one is as good, or better", "an attestation", "of no platform"}; !slices.Equal(reasons, want) {
		t.Errorf("refused: %q, want %q", reasons, want)
	}
	f.tree = f.newTree("linux/s390x")
	if text := f.read("a/tags/1/platform.json"); !strings.Contains(text, `"chosen": null`) {
		t.Errorf("where nothing matches: %s", text)
	}
}

// "Attestations are in attestations/ of the image that they are about."
func TestAttestations(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	amd := f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "amd64"})
	arm := f.entryFor("a", 2, v1.Platform{OS: "linux", Architecture: "arm64"})
	const statement = `{"_type":"https://in-toto.io/Statement/v0.1"}`
	attest := func(image v1.Descriptor, config string) v1.Descriptor {
		f.server.PutBlob("a", []byte(config))
		f.server.PutBlob("a", []byte(statement))
		raw := manifestFor(descriptor(string(types.OCIConfigJSON), config, int64(len(config))),
			"["+descriptor("application/vnd.in-toto+json", statement, int64(len(statement)))+"]")
		d := f.server.PutManifest("a", "", types.OCIManifestSchema1, raw)
		return v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Digest: d, Size: int64(len(raw)), Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{referenceTypeKey: attestationType, referenceDigestKey: image.Digest.String()},
		}
	}
	of := map[string]v1.Descriptor{"linux-amd64": attest(amd, "{}"), "linux-arm64": attest(arm, "{ }")}
	f.putIndex("a", "1", amd, arm, of["linux-amd64"], of["linux-arm64"])
	for dir, d := range map[string]v1.Descriptor{"": of["linux-amd64"], "/platforms/linux-amd64": of["linux-amd64"], "/platforms/linux-arm64": of["linux-arm64"]} {
		dir = "a/tags/1" + dir + "/attestations"
		names, err := f.list(dir)
		if err != nil || !slices.Equal(names, []string{d.Digest.Hex[:12]}) {
			t.Errorf("%s: %q, %v", dir, names, err)
			continue
		}
		dir += "/" + names[0]
		if got := f.read(dir + "/layers/00-" + registrytest.DigestOf([]byte(statement)).Hex[:12] + ".intoto.json"); got != statement {
			t.Errorf("%s: %s", dir, got)
		}
		if _, err := f.lookup(dir + "/image.tar"); !errors.Is(err, ErrNotImage) {
			t.Errorf("%s/image.tar: %v, want %v", dir, err, ErrNotImage)
		}
	}
	if names, _ := f.list("a/tags/1/platforms"); !slices.Equal(names, []string{"linux-amd64", "linux-arm64"}) {
		t.Errorf("platforms: %q", names)
	}
	if _, err := f.lookup("a/digests/" + amd.Digest.String() + "/attestations"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("where no index is known: %v", err)
	}
}

// A few indexes that each name the next one twice would be a tree without an end.
func TestIndexesInIndexes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	inner := f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "amd64"})
	for n := range 20 {
		other := inner
		other.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
		raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{inner, other}})
		if err != nil {
			t.Fatal(err)
		}
		d := f.server.PutManifest("a", fmt.Sprint(n), types.OCIImageIndex, raw)
		inner = v1.Descriptor{MediaType: types.OCIImageIndex, Digest: d, Size: int64(len(raw)), Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}
	}
	dir := "a/tags/19"
	depth := 0
	for ; depth < 20; depth++ {
		names, err := f.list(dir + "/platforms")
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			break
		}
		dir += "/platforms/" + names[0]
	}
	if depth != maxDepth {
		t.Errorf("shown %d deep, want %d", depth, maxDepth)
	}
	if _, err := f.lookup(dir + "/platforms/linux-amd64"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("deeper: %v", err)
	}
}

// putInner pushes an index, and returns the entry for it in another.
func (f *fixture) putInner(repo string, p *v1.Platform, manifests ...v1.Descriptor) v1.Descriptor {
	f.t.Helper()
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests})
	if err != nil {
		f.t.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.OCIImageIndex, Digest: f.server.PutManifest(repo, "", types.OCIImageIndex, raw), Size: int64(len(raw)), Platform: p}
}

// "An index in platforms/ stands for its own platform, not the mount's." One that is for
// none is called by its digest, and stands for the mount's; to list them fetches nothing.
func TestInnerIndexes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	amd, arm := f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "amd64"}), f.entryFor("a", 2, v1.Platform{OS: "linux", Architecture: "arm64"})
	windows := []v1.Descriptor{
		f.entryFor("a", 3, v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}),
		f.entryFor("a", 4, v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}),
	}
	none := f.putInner("a", nil, arm, amd)
	unknown := f.putInner("a", &v1.Platform{OS: "unknown", Architecture: "unknown"}, amd)
	index := "index-" + none.Digest.Hex[:12]
	f.putIndex("a", "1",
		f.putInner("a", &v1.Platform{OS: "linux", Architecture: "arm64"}, amd, arm), none, none, unknown,
		f.putInner("a", &v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}, windows...),
		f.putInner("a", &v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}, windows...),
		f.putInner("a", &v1.Platform{OS: "linux", Architecture: "s390x"}, amd, f.putInner("a", nil, amd, arm)))
	names, err := f.list("a/tags/1/platforms")
	if want := []string{"linux-arm64", index, "windows-amd64-10.0.1", "windows-amd64-10.0.2", "linux-s390x"}; err != nil || !slices.Equal(names, want) {
		t.Fatalf("%q, %v, want %q", names, err, want)
	}
	f.wantAsked("to list them", "GET a:1")
	for dir, want := range map[string]v1.Descriptor{
		"linux-arm64":                       arm,
		"linux-arm64/platforms/linux-amd64": amd,
		index:                               amd,
		index + "/platforms/linux-arm64":    arm,
		"windows-amd64-10.0.1":              windows[0],
		"windows-amd64-10.0.2":              windows[1],
	} {
		if got := f.read("a/tags/1/platforms/" + dir + "/resolved-digest"); got != want.Digest.String()+"\n" {
			t.Errorf("%s stands for %s, want %s", dir, got, want.Digest)
		}
		f.read("a/tags/1/platforms/" + dir + "/image.tar")
	}
	// One index for two platforms is two files of other bytes.
	inodes := map[uint64]bool{}
	for _, version := range []string{"10.0.1", "10.0.2"} {
		path := "a/tags/1/platforms/windows-amd64-" + version + "/platform.json"
		inodes[f.attr(path).Ino] = true
		if got := f.read(path); !strings.Contains(got, `"requested": "windows(`+version+`)/amd64"`) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if len(inodes) != 2 {
		t.Error("two platform.json that differ are one inode")
	}
	// Where its own platform is not in it, it has no resolved files, whatever the mount's is.
	if _, err := f.lookup("a/tags/1/platforms/linux-s390x/resolved-digest"); !errors.Is(err, ErrNoPlatform) || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("without one for its own platform: %v", err)
	}
	names, err = f.list("a/tags/1/platforms/linux-s390x/platforms")
	if err != nil || len(names) != 2 || !strings.HasPrefix(names[1], "index-") {
		t.Fatalf("%q, %v", names, err)
	}
	if _, err := f.lookup("a/tags/1/platforms/linux-s390x/platforms/" + names[1] + "/resolved-digest"); !errors.Is(err, ErrNoPlatform) {
		t.Errorf("in one that is for no platform: %v", err)
	}
}

// An entry that is an index and does not say so ends a walk where others do, and what
// attests an image is not shown to be attested itself.
func TestIndexesThatHide(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	inner := f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "amd64"})
	for range 5 {
		inner = f.putInner("a", &v1.Platform{OS: "linux", Architecture: "amd64"}, inner)
		inner.MediaType = types.OCIManifestSchema1
	}
	f.putIndex("a", "1", inner)
	const deep = "/platforms/linux-amd64"
	if names, err := f.list("a/tags/1" + strings.Repeat(deep, maxDepth)); err != nil || !slices.Contains(names, "platforms") {
		t.Errorf("%q, %v", names, err)
	}
	if _, err := f.list("a/tags/1" + strings.Repeat(deep, maxDepth+1)); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("deeper: %v", err)
	}

	image := f.entryFor("a", 2, v1.Platform{OS: "linux", Architecture: "amd64"})
	last := image
	for range 3 {
		about := f.putInner("a", nil, image, last)
		about.Annotations = map[string]string{referenceTypeKey: attestationType, referenceDigestKey: image.Digest.String()}
		last = about
	}
	f.putIndex("a", "2", image, last)
	names, err := f.list("a/tags/2/attestations")
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	below, err := f.list("a/tags/2/attestations/" + names[0])
	if err != nil || slices.Contains(below, attestationsName) {
		t.Errorf("an attestation has %q, %v", below, err)
	}
	if _, err := f.lookup("a/tags/2/attestations/" + names[0] + "/attestations"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("attestations of an attestation: %v", err)
	}
}

// A platform whose image is not what the index says, or not there.
func TestPlatformsThatLie(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	gone := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: registrytest.DigestOf([]byte("gone")), Size: 4, Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}
	other := f.entryFor("a", 1, v1.Platform{OS: "linux", Architecture: "s390x"})
	other.Size++
	f.putIndex("a", "1", gone, other)
	if _, err := f.list("a/tags/1/platforms/linux-arm64"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("an image that was not copied: %v", err)
	}
	if _, err := f.list("a/tags/1/platforms/linux-s390x"); !errors.Is(err, registry.ErrMismatch) {
		t.Errorf("an image of another size: %v", err)
	}
}
