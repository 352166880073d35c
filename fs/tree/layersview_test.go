package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// "config.json and each file in layers/ are the blobs as the registry has them." To
// name them, and to say how long they are, costs the manifest alone.
func TestLayers(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.server.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{5000, 300, 5000}}))
	var m v1.Manifest
	if err := json.Unmarshal([]byte(f.read("a/tags/1/manifest.json")), &m); err != nil {
		t.Fatal(err)
	}
	names, err := f.list("a/tags/1/layers")
	if err != nil || len(names) != 6 {
		t.Fatalf("%q, %v", names, err)
	}
	f.asked()
	for n, d := range m.Layers {
		name := fmt.Sprintf("%02d-%s", n, d.Digest.Hex[:12])
		if !slices.Equal(names[2*n:2*n+2], []string{name + ".tar.gz", name + ".json"}) {
			t.Errorf("layer %d is %q", n, names[2*n:2*n+2])
		}
		if got := f.attr("a/tags/1/layers/" + name + ".tar.gz").Size; got != d.Size {
			t.Errorf("%s has %d bytes, want %d", name, got, d.Size)
		}
		f.attr("a/tags/1/layers/" + name + ".json")
	}
	f.attr("a/tags/1/config.json")
	if n := len(f.server.Requests()); n != 0 {
		t.Errorf("%d requests to look at them", n)
	}
	for n, d := range m.Layers {
		b := f.read("a/tags/1/layers/" + names[2*n])
		if got := registrytest.DigestOf([]byte(b)); got != d.Digest {
			t.Errorf("%s is %s, want %s", names[2*n], got, d.Digest)
		}
	}
	if got := registrytest.DigestOf([]byte(f.read("a/tags/1/config.json"))); got != m.Config.Digest {
		t.Errorf("config.json is %s, want %s", got, m.Config.Digest)
	}
	if n := f.server.Count(registrytest.Blob); n != 3 { // the same layer twice is one
		t.Errorf("%d requests for blobs, want 3", n)
	}
	if _, err := f.lookup("a/tags/1/layers/03-" + m.Layers[0].Digest.Hex[:12] + ".tar.gz"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a layer that is not there: %v", err)
	}
}

// "Beside each layer is what the manifest and the config say of it." "What a terminal
// would act on is escaped in the documents that the mount writes." The file is as
// long as stat said before the config was fetched.
func TestLayerRecord(t *testing.T) {
	const layer = "a layer"
	diffID := "sha256:" + strings.Repeat("d", 64)
	diffIDs := func(n int) string {
		return `"rootfs":{"type":"layers","diff_ids":[` + strings.Join(slices.Repeat([]string{`"` + diffID + `"`}, n), ",") + `]}`
	}
	cases := map[string]struct {
		config  string
		layers  int
		diffID  string
		history string // of the last layer
	}{
		"one":                     {`{` + diffIDs(1) + `,"history":[{"created_by":"RUN <&>"}]}`, 1, diffID, `{"created_by":"RUN <&>"}`},
		"least":                   {`{` + diffIDs(2) + `,"history":[{},{"a":1}]}`, 2, diffID, `{"a":1}`},
		"none longer":             {`{"rootfs":{"diff_ids":["` + diffID + `"]},"history":[{"created_by":"` + strings.Repeat("x", 10_000) + `"}]}`, 1, diffID, `{"created_by":"` + strings.Repeat("x", 10_000) + `"}`},
		"empty layers":            {`{` + diffIDs(2) + `,"history":[{"empty_layer":true},{"c":1},{"empty_layer":true},{"c":2},{"empty_layer":true}]}`, 2, diffID, `{"c":2}`},
		"no history":              {`{` + diffIDs(1) + `}`, 1, diffID, ""},
		"of fewer":                {`{` + diffIDs(2) + `,"history":[{"c":1}]}`, 2, diffID, ""},
		"of more":                 {`{` + diffIDs(1) + `,"history":[{"c":1},{"c":2}]}`, 1, diffID, ""},
		"white space":             {`{` + diffIDs(1) + ",\"history\": [ {\n \"c\" :\t1 } ] }", 1, diffID, `{"c":1}`},
		"no diffIDs":              {`{"history":[{"c":1}]}`, 1, "", ""},
		"a diffID that is none":   {`{"rootfs":{"diff_ids":["../../x"]}}`, 1, "", ""},
		"no JSON":                 {`not JSON`, 1, "", ""},
		"nothing":                 {``, 1, "", ""},
		"what turns a line":       {`{` + diffIDs(1) + ",\"history\":[{\"c\":\"\u202etxt\u009b2J\"}]}", 1, diffID, `{"c":"\u202etxt\u009b2J"}`},
		"no UTF-8":                {`{` + diffIDs(1) + ",\"history\":[{\"c\":\"\x9b2J\"}]}", 1, diffID, `{"c":"\ufffd2J"}`},
		"too much to escape":      {`{"rootfs":{"diff_ids":["` + diffID + "\"]},\"history\":[{\"c\":\"" + strings.Repeat("\x7f\u202e", 100) + "\"}]}", 1, diffID, `{"c":"` + strings.Repeat("??", 100) + `"}`},
		"history that is no list": {`{` + diffIDs(1) + `,"history":{"a":1}}`, 1, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			f.server.PutBlob("a", []byte(c.config))
			d := descriptor(string(types.OCILayer), layer, int64(len(layer)))
			f.server.PutManifest("a", "1", types.OCIManifestSchema1, manifestFor(
				descriptor(string(types.OCIConfigJSON), c.config, int64(len(c.config))), "["+strings.Join(slices.Repeat([]string{d}, c.layers), ",")+"]"))
			path := fmt.Sprintf("a/tags/1/layers/%02d-%s.json", c.layers-1, registrytest.DigestOf([]byte(layer)).Hex[:12])
			attr := f.attr(path)
			if n := f.server.Count(registrytest.Blob); n != 0 {
				t.Errorf("%d requests for blobs to stat it", n)
			}
			text := f.read(path)
			if int64(len(text)) != attr.Size {
				t.Errorf("%d bytes, stat said %d", len(text), attr.Size)
			}
			var got struct {
				Descriptor, History json.RawMessage
				DiffID              string
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if got.DiffID != c.diffID || string(got.History) != c.history {
				t.Errorf("diffID %q, history %s; want %q, %s", got.DiffID, got.History, c.diffID, c.history)
			}
			if !bytes.Contains(got.Descriptor, []byte(registrytest.DigestOf([]byte(layer)).Hex)) {
				t.Errorf("descriptor %s", got.Descriptor)
			}
		})
	}
}

// "Blobs of an artifact are called by their titles, where these are safe and unique."
func TestLayerNames(t *testing.T) {
	digest := registrytest.DigestOf([]byte("x"))
	short := digest.Hex[:12]
	titled := func(title string) v1.Descriptor {
		return v1.Descriptor{MediaType: "application/octet-stream", Digest: digest, Annotations: map[string]string{titleKey: title}}
	}
	for title, safe := range map[string]bool{
		"chart-1.0.tgz": true, "sbom.json": true, "mit Leerzeichen.txt": true, "größe": true, "10-things": true, "a..b": true,
		"": false, ".": false, "..": false, ".bashrc": false, "-rf": false, "~": false, "a/b": false, "../x": false, `a\b`: false,
		"a\nb": false, "a\x00b": false, "a\x1b[2J": false, "\xff": false, "a\u202eb": false, "a\u200fb": false, strings.Repeat("x", 256): false,
		"00-" + short + ".json": false, "123-" + short + "": false, strings.Repeat("x", 255): true,
	} {
		want := "00-" + short + ".blob"
		if safe {
			want = title
		}
		if got := layerNames([]v1.Descriptor{titled(title)}, true); got[0] != want {
			t.Errorf("title %q gives %q, want %q", title, got[0], want)
		}
	}
	twice := layerNames([]v1.Descriptor{titled("a"), titled("b"), titled("a")}, true)
	if !slices.Equal(twice, []string{"00-" + short + ".blob", "b", "02-" + short + ".blob"}) {
		t.Errorf("one title twice: %q", twice)
	}
	if got := layerNames([]v1.Descriptor{titled("a")}, false); got[0] != "00-"+short+".blob" {
		t.Errorf("the layer of an image is called %q", got[0])
	}
	for mediaType, want := range map[types.MediaType]string{
		types.OCILayer: ".tar.gz", types.DockerLayer: ".tar.gz", types.DockerForeignLayer: ".tar.gz", types.OCIRestrictedLayer: ".tar.gz",
		types.OCIUncompressedLayer: ".tar", types.DockerUncompressedLayer: ".tar", types.OCILayerZStd: ".tar.zst",
		"application/vnd.docker.image.rootfs.diff.tar.zstd":     ".tar.zst",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted": ".tar.gz.enc",
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip":   ".tar.gz",
		"application/vnd.in-toto+json":                          ".intoto.json",
		"application/vnd.dev.cosign.simplesigning.v1+json":      ".blob.json",
		"application/json": ".blob.json",
		"application/tar":  ".tar",
		"":                 ".blob",
		"application/vnd.oci.image.layer.v1.tar+gzip; charset=../../etc": ".blob",
	} {
		if got := extension(mediaType); got != want {
			t.Errorf("%s is %q, want %q", mediaType, got, want)
		}
	}
	many := layerNames(slices.Repeat([]v1.Descriptor{titled("a")}, 101), false)
	if many[0] != "000-"+short+".blob" || many[100] != "100-"+short+".blob" {
		t.Errorf("of a hundred and one: %q … %q", many[0], many[100])
	}
}

// "oci/ is an OCI image layout of the resolved image."
func TestLayout(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	_, images := f.pushIndex("a", "1", registrytest.ImageSpec{Architecture: "arm64"}, registrytest.ImageSpec{Layers: []int64{100, 200, 100}})
	if got := f.read("a/tags/1/oci/oci-layout"); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s", got)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal([]byte(f.read("a/tags/1/oci/index.json")), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != images[1] || index.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1" {
		t.Errorf("index.json: %+v", index)
	}
	names, err := f.list("a/tags/1/oci/blobs/sha256")
	if err != nil || len(names) != 4 || names[0] != images[1].Hex {
		t.Errorf("%q, %v", names, err)
	}
	if n := f.server.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for blobs", n)
	}
	for _, name := range names {
		if got := registrytest.DigestOf([]byte(f.read("a/tags/1/oci/blobs/sha256/" + name))); got.Hex != name {
			t.Errorf("%s is %s", name, got)
		}
	}
	for _, path := range []string{"oci/x", "oci/blobs/sha512", "oci/blobs/sha256/" + strings.Repeat("0", 64), "oci/blobs/sha256/x"} {
		if _, err := f.lookup("a/tags/1/" + path); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
