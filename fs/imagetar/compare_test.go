package imagetar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is a member of a tarball that a test makes: a file, or a symbolic link where
// link is not "".
type entry struct {
	name    string
	content []byte
	link    string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Size: int64(len(e.content)), Mode: 0o644}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sample is an image of two layers, as a registry has it and as others store it.
type sample struct {
	plain, layers    [][]byte
	config, manifest []byte
	wanted           Wanted
}

func newSample(t testing.TB) sample {
	t.Helper()
	s := sample{}
	var diffIDs []v1.Hash
	for _, size := range []int{3000, 5000} {
		plain := tarOf(t, entry{name: "file", content: sized(size)})
		s.plain, s.layers = append(s.plain, plain), append(s.layers, gzipped(t, plain))
		diffIDs = append(diffIDs, hashOf(plain))
	}
	var err error
	if s.config, err = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}); err != nil {
		t.Fatal(err)
	}
	s.manifest = manifestOf(t, append([][]byte{s.config}, s.layers...)...)
	s.wanted = Wanted{Image: Image{Manifest: s.manifest, MediaType: types.OCIManifestSchema1, Name: Name{"docker.io/library/app", "1"}}}
	return s
}

func blobEntry(b []byte) entry { return entry{name: blobName(hashOf(b)), content: b} }

// layout is the sample as an OCI image layout.
func (s sample) layout(t testing.TB) []entry {
	t.Helper()
	return append([]entry{
		{name: "oci-layout", content: layoutDocument},
		{name: "index.json", content: indexOf(t, saveEntry{MediaType: types.OCIManifestSchema1, Digest: hashOf(s.manifest).String(), Size: int64(len(s.manifest))})},
	}, s.blobs()...)
}

func (s sample) blobs() []entry {
	return []entry{blobEntry(s.manifest), blobEntry(s.config), blobEntry(s.layers[0]), blobEntry(s.layers[1])}
}

func indexOf(t testing.TB, entries ...saveEntry) []byte {
	t.Helper()
	b, err := json.Marshal(saveIndex{2, types.OCIImageIndex, entries})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// docker is the sample as crane has it, or with plain layers as docker had.
func (s sample) docker(t testing.TB, plain bool, tags ...string) []entry {
	t.Helper()
	document := dockerManifest{Config: "config.json", RepoTags: tags}
	entries := []entry{{name: "config.json", content: s.config}}
	for i, layer := range s.layers {
		name := fmt.Sprintf("%d/layer.tar", i)
		if plain {
			layer = s.plain[i]
		}
		document.Layers = append(document.Layers, name)
		entries = append(entries, entry{name: name, content: layer})
	}
	b, err := json.Marshal([]dockerManifest{document})
	if err != nil {
		t.Fatal(err)
	}
	return append(entries, entry{name: "manifest.json", content: b})
}

func with(entries []entry, more ...entry) []entry { return append(slices.Clone(entries), more...) }

// replaced gives the member that ends so other bytes, or drops it.
func replaced(t testing.TB, entries []entry, suffix string, content []byte) []entry {
	t.Helper()
	changed := slices.Clone(entries)
	i := slices.IndexFunc(changed, func(e entry) bool { return strings.HasSuffix(e.name, suffix) })
	if i < 0 {
		t.Fatalf("no member %s", suffix)
	}
	if content == nil {
		return slices.Delete(changed, i, i+1)
	}
	changed[i].content = content
	return changed
}

func compare(t testing.TB, w Wanted, tarball []byte) (*Comparison, error) {
	t.Helper()
	c, err := ReadContents(t.Context(), bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	return c.Compare(w)
}

func states(c *Comparison) string {
	var all []string
	for _, p := range c.Parts {
		all = append(all, p.Part+": "+string(p.State))
	}
	for _, name := range c.Extra {
		all = append(all, "extra: "+name)
	}
	return strings.Join(all, "; ")
}

func TestCompare(t *testing.T) {
	s := newSample(t)
	layout, crane, classic := s.layout(t), s.docker(t, false, "app:1"), s.docker(t, true, "app:1")
	layer := hashOf(s.layers[1]).Hex
	good := "manifest: ok; config: ok; layer 0: ok; layer 1: ok"
	dockers := "manifest: not kept; config: ok; layer 0: ok; layer 1: ok"
	unzipped := "manifest: not kept; config: ok; layer 0: ok, uncompressed; layer 1: ok, uncompressed"

	// The registry's index, an index that somebody made of it, and one of its own.
	entryOfSample := saveEntry{MediaType: types.OCIManifestSchema1, Digest: hashOf(s.manifest).String(), Size: int64(len(s.manifest))}
	index := indexOf(t, saveEntry{Digest: "sha256:" + strings.Repeat("0", 64)}, entryOfSample)
	indexed := s.wanted
	indexed.Index = index
	nested := func(of []byte) []entry {
		return replaced(t, with(layout, blobEntry(of)), "index.json", indexOf(t, saveEntry{MediaType: types.OCIImageIndex, Digest: hashOf(of).String()}))
	}
	// What docker's classic store writes since version 25.
	uncompressed := manifestOf(t, append([][]byte{s.config}, s.plain...)...)
	madeUp := []entry{
		{name: "index.json", content: indexOf(t, saveEntry{MediaType: types.OCIManifestSchema1, Digest: hashOf(uncompressed).String()})},
		blobEntry(uncompressed), blobEntry(s.config), blobEntry(s.plain[0]), blobEntry(s.plain[1]),
	}
	// A layout of the same blobs whose manifest is another one.
	rewritten := append(bytes.TrimSuffix(slices.Clone(s.manifest), []byte("}")), []byte(`,"annotations":{"a":"b"}}`)...)
	foreign := s.wanted
	foreign.Manifest = bytes.Replace(s.manifest, []byte(types.OCILayer), []byte(types.DockerForeignLayer), 1)

	for name, c := range map[string]struct {
		wanted  Wanted
		entries []entry
		want    string
		differs string
	}{
		"layout":     {s.wanted, layout, good, ""},
		"dot names":  {s.wanted, []entry{{name: "./index.json", content: layout[1].content}, {name: "./" + layout[2].name, content: layout[2].content}, layout[3], layout[4], layout[5]}, good, ""},
		"crane":      {s.wanted, crane, dockers, ""},
		"classic":    {s.wanted, classic, unzipped, ""},
		"classic 25": {s.wanted, madeUp, unzipped, ""},
		"a link for a layer": {s.wanted, replaced(t, with(classic, entry{name: "1/layer.tar", link: "../other.tar"}, entry{name: "other.tar", content: s.plain[1]}),
			"1/layer.tar", nil), unzipped, ""},
		"index":          {indexed, nested(index), "index: ok; " + good, ""},
		"another index":  {indexed, nested(indexOf(t, entryOfSample)), good, ""},
		"not its index":  {indexed, layout, good, ""},
		"foreign layer":  {foreign, replaced(t, crane, "0/layer.tar", nil), "manifest: not kept; config: ok; layer 0: left out; layer 1: ok", ""},
		"extra":          {s.wanted, with(layout, entry{name: "a/b", content: []byte("c")}), good + "; extra: a/b", ""},
		"twice the same": {s.wanted, with(layout, layout[4]), good, ""},

		"a layer differs":    {s.wanted, replaced(t, layout, layer, []byte("other")), "manifest: ok; config: ok; layer 0: ok; layer 1: differs", "layer 1"},
		"a layer is missing": {s.wanted, replaced(t, layout, layer, nil), "manifest: ok; config: ok; layer 0: ok; layer 1: missing", "layer 1"},
		"another config":     {s.wanted, replaced(t, classic, "config.json", []byte("{}")), "manifest: not kept; config: differs; layer 0: differs; layer 1: differs", "config"},
		"a layer more": {s.wanted, replaced(t, with(crane, entry{name: "2"}), "manifest.json", []byte(`[{"Config":"config.json","Layers":["0/layer.tar","1/layer.tar","2"]}]`)),
			dockers + "; layer 2: superfluous", "layer 2"},
		"a layer less": {s.wanted, replaced(t, crane, "manifest.json", []byte(`[{"Config":"config.json","Layers":["0/layer.tar"]}]`)),
			"manifest: not kept; config: ok; layer 0: ok; layer 1: missing; extra: 1/layer.tar", "layer 1"},
		"layers in another order": {s.wanted, replaced(t, crane, "manifest.json", []byte(`[{"Config":"config.json","Layers":["1/layer.tar","0/layer.tar"]}]`)),
			"manifest: not kept; config: ok; layer 0: differs; layer 1: differs", "layer 0"},
		"another manifest": {s.wanted, replaced(t, with(layout, blobEntry(rewritten)), "index.json", indexOf(t, saveEntry{Digest: hashOf(rewritten).String()})),
			"manifest: differs; config: ok; layer 0: ok; layer 1: ok; extra: " + blobName(hashOf(s.manifest)), "manifest"},
		"two images":      {s.wanted, with(layout, entry{name: "manifest.json", content: []byte(`[{"Config":"a","Layers":[]}]`)}, entry{name: "a"}), good, "member \"manifest.json\""},
		"one image twice": {s.wanted, with(layout, crane...), good, ""},
		"a manifest that is another": {s.wanted, replaced(t, madeUp, blobName(hashOf(uncompressed)), append([]byte(" "), uncompressed...)),
			"manifest: differs; config: ok; layer 0: ok, uncompressed; layer 1: ok, uncompressed", "manifest"},
		"the index differs":       {indexed, replaced(t, nested(index), blobName(hashOf(index)), []byte("{}")), "index: differs; " + good, "index"},
		"twice, and not the same": {s.wanted, with(layout, entry{name: layout[4].name, content: []byte("other")}), "manifest: ok; config: ok; layer 0: ambiguous; layer 1: ok", "layer 0"},
		"out of the tarball":      {s.wanted, with(layout, entry{name: "../../etc/passwd"}), good, "member"},
		"a link out of it":        {s.wanted, with(layout, entry{name: "a", link: "../../etc/passwd"}), good, "member"},
		"links in a circle": {s.wanted, with(replaced(t, crane, "1/layer.tar", nil), entry{name: "1/layer.tar", link: "../a"}, entry{name: "a", link: "1/layer.tar"}),
			"manifest: not kept; config: ok; layer 0: ok; layer 1: missing", "layer 1"},
	} {
		t.Run(name, func(t *testing.T) {
			tarball := tarOf(t, c.entries...)
			for _, b := range [][]byte{tarball, gzipped(t, tarball)} {
				found, err := compare(t, c.wanted, b)
				if err != nil {
					t.Fatal(err)
				}
				if got := states(found); got != c.want {
					t.Errorf("%s\nwant:\n%s", got, c.want)
				}
				if got := found.Difference(); (got == "") != (c.differs == "") || !strings.HasPrefix(got, c.differs) {
					t.Errorf("the first difference is %q, want one of %q", got, c.differs)
				}
			}
		})
	}
}

// TestCompareFixtures compares what docker's engine wrote.
func TestCompareFixtures(t *testing.T) {
	for name, tag := range map[string]string{"tag": "1.0", "digest": "", "index": "1.0", "foreign": "1.0", "docker.io": "1.0", "attestations": "1.0"} {
		fx := readFixture(t, name)
		p := fx.pulled(t, "r.io/a", tag, false)
		found, err := compare(t, Wanted{Image: p.Image, Index: p.Index}, fx.bytes)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := found.Difference(); d != "" || len(found.Extra) > 0 || len(found.Problems) > 0 {
			t.Errorf("%s: %s; %s", name, d, states(found))
		}
	}
}

// TestCompareChooses has tarballs of several images.
func TestCompareChooses(t *testing.T) {
	s := newSample(t)
	entryOf := func(name string, manifest []byte) saveEntry {
		e := saveEntry{MediaType: types.OCIManifestSchema1, Digest: hashOf(manifest).String(), Size: int64(len(manifest)), Annotations: map[string]string{}}
		if name != "" {
			e.Annotations[refNameAnnotation] = name
		}
		return e
	}
	other := manifestOf(t, []byte("{}"))
	two := func(first, second saveEntry) []byte {
		return tarOf(t, with(s.blobs(), blobEntry(other), entry{name: "index.json", content: indexOf(t, first, second)})...)
	}
	docker := func(first, second string) []byte {
		return tarOf(t, replaced(t, s.docker(t, false), "manifest.json", []byte(fmt.Sprintf(
			`[{"Config":%q,"RepoTags":[%q]},{"Config":"config.json","RepoTags":[%q],"Layers":["0/layer.tar","1/layer.tar"]}]`, blobName(hashOf([]byte("{}"))), first, second)))...)
	}
	for name, c := range map[string]struct {
		tarball []byte
		same    bool
	}{
		"by the whole name":            {two(entryOf("2", other), entryOf("docker.io/library/app:1", s.manifest)), true},
		"by the tag":                   {two(entryOf("2", other), entryOf("1", s.manifest)), true},
		"by the whole before the tag":  {two(entryOf("1", other), entryOf("docker.io/library/app:1", s.manifest)), true},
		"by the digest":                {two(entryOf("", other), entryOf("", s.manifest)), true},
		"by the name, not the digest":  {two(entryOf("1", other), entryOf("2", s.manifest)), false},
		"docker's by its name":         {docker("app:2", "app:1"), true},
		"docker's by its config":       {docker("a:1", "b:1"), true},
		"docker's by name, not config": {docker("app:1", "app:2"), false},
		"about an image, but none":     {two(saveEntry{Digest: hashOf(other).String(), Annotations: map[string]string{subjectAnnotation: "x"}}, entryOf("2", s.manifest)), true},
	} {
		found, err := compare(t, s.wanted, c.tarball)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := found.Difference(); (d == "") != c.same {
			t.Errorf("%s: %q", name, d)
		}
	}
	if _, err := compare(t, s.wanted, two(entryOf("a", other), entryOf("b", other))); err == nil || !strings.Contains(err.Error(), `"a", "b"`) {
		t.Errorf("of two others: %v", err)
	}
	// Both lists have the other one: they do not contradict each other.
	found, err := compare(t, s.wanted, tarOf(t, blobEntry(other), blobEntry([]byte("{}")), entry{name: "index.json", content: indexOf(t, entryOf("1", other))},
		entry{name: "manifest.json", content: []byte(fmt.Sprintf(`[{"Config":%q,"Layers":[]}]`, blobName(hashOf([]byte("{}")))))}))
	if err != nil {
		t.Fatal(err)
	}
	if found.Difference() == "" || len(found.Problems) > 0 {
		t.Errorf("of another image: %q, problems %v", found.Difference(), found.Problems)
	}
}

// FuzzCompare reads tarballs of anybody.
func FuzzCompare(f *testing.F) {
	s := newSample(f)
	f.Add(tarOf(f, s.layout(f)...))
	f.Add(tarOf(f, s.docker(f, true, "app:1")...))
	f.Add(holes(f))
	f.Add(readFixture(f, "index").bytes)
	f.Fuzz(func(t *testing.T, tarball []byte) {
		w := s.wanted
		w.Select = func([]byte) (v1.Descriptor, error) { return v1.Descriptor{Digest: hashOf(s.manifest)}, nil }
		found, err := compare(t, w, tarball)
		if err != nil {
			return
		}
		if found.Difference() != "" {
			return
		}
		// The image is the registry's only where all that it is made of is there.
		kept := 0
		for _, p := range found.Parts {
			if p.State == OK || p.State == Uncompressed {
				kept++
			}
		}
		if kept < 3 {
			t.Fatalf("nothing differs, and there are %s", states(found))
		}
	})
}
