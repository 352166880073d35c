package imagetar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// fixtures are archives that docker's engine wrote; testdata/dockersave/README.md
// says how.
const fixtures = "testdata/dockersave"

// fixture is one of them, with its members in memory.
type fixture struct {
	bytes   []byte
	members map[string][]byte
	index   []byte // the registry's, nil where the image is in none
}

func readFixture(t testing.TB, name string) fixture {
	t.Helper()
	f, err := os.Open(filepath.Join(fixtures, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	fx := fixture{members: map[string][]byte{}}
	if fx.bytes, err = io.ReadAll(plain); err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(bytes.NewReader(fx.bytes)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if fx.members[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
	fx.index, err = os.ReadFile(filepath.Join(fixtures, name+".index.json"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return fx
}

// pulled is what is known of the fixture's image without its blobs.
func (fx fixture) pulled(t testing.TB, repository, tag string, attested bool) Pulled {
	t.Helper()
	var index saveIndex
	if err := json.Unmarshal(fx.members["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(index.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	p := Pulled{
		Image:      Image{Manifest: fx.members[blobName(digest)], MediaType: index.Manifests[0].MediaType},
		Repository: repository, Index: fx.index,
	}
	if tag != "" {
		p.Name = Name{Repository: repository, Tag: tag}
	}
	if fx.index == nil || !attested {
		return p
	}
	if d, ok, err := AttestationOf(fx.index, digest); err != nil {
		t.Fatal(err)
	} else if ok {
		p.Attestation = fx.members[blobName(d.Digest)]
		if p.Attestation == nil {
			t.Fatalf("the engine did not save %s", d.Digest)
		}
	}
	return p
}

// "docker-save.tar is what docker save writes, byte for byte."
func TestDockerSave(t *testing.T) {
	for name, c := range map[string]struct {
		repository, tag string
		unattested      bool // by version 28
	}{
		"tag":          {"127.0.0.1:5055/a/oci", "1.0", false},
		"digest":       {"127.0.0.1:5055/a/oci", "", false},
		"schema2":      {"127.0.0.1:5055/a/docker", "1.0", false},
		"repeated":     {"127.0.0.1:5055/a/repeated", "1.0", false},
		"foreign":      {"127.0.0.1:5055/a/foreign", "1.0", false},
		"index":        {"127.0.0.1:5055/a/index", "1.0", false},
		"index-digest": {"127.0.0.1:5055/a/index", "", false},
		"index-28":     {"127.0.0.1:5055/a/index", "1.0", true},
		"variant":      {"127.0.0.1:5055/a/index", "1.0", false},
		"list":         {"127.0.0.1:5055/a/list", "1.0", false},
		"attestations": {"127.0.0.1:5055/a/atts", "1.0", false},
		"docker.io":    {"docker.io/library/hub", "1.0", false},
	} {
		t.Run(name, func(t *testing.T) {
			fx := readFixture(t, name)
			a, err := DockerSave(fx.pulled(t, c.repository, c.tag, !c.unattested))
			if err != nil {
				t.Fatal(err)
			}
			var readers []readat.Reader
			for _, d := range a.Blobs() {
				content, ok := fx.members[blobName(d.Digest)]
				if !ok {
					t.Fatalf("the engine did not save %s", d.Digest)
				}
				readers = append(readers, readat.Bytes(content))
			}
			r, err := a.Reader(readers)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, r.Size())
			if _, err := r.ReadAt(t.Context(), got, 0); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if bytes.Equal(got, fx.bytes) {
				return
			}
			t.Errorf("%d bytes, the engine wrote %d", len(got), len(fx.bytes))
			for _, m := range a.Members() {
				if ours := got[m.Data : m.Data+m.Size]; !bytes.Equal(ours, fx.members[m.Name]) {
					t.Errorf("%s:\n%s\nthe engine's:\n%s", m.Name, ours, fx.members[m.Name])
				}
			}
		})
	}
}

// TestDockerSaveNames has the names that no fixture has.
func TestDockerSaveNames(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io/library/alpine:3.10":  "alpine:3.10",
		"docker.io/grafana/loki:1":       "grafana/loki:1",
		"docker.io/library/sub/alpine:1": "library/sub/alpine:1",
		"quay.io/library/alpine:1":       "quay.io/library/alpine:1",
	} {
		if got := familiar(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for host, want := range map[string]string{
		"docker.io": "docker.io", "localhost:5000": "localhost", "[::1]:5000": "::1", "[::1]": "::1",
	} {
		if got := hostname(host); got != want {
			t.Errorf("%s is %s, want %s", host, got, want)
		}
	}
}

func TestDockerSaveRefused(t *testing.T) {
	fx := readFixture(t, "index")
	tagged := readFixture(t, "tag")
	legacy := tagged.pulled(t, "r.io/a", "1", true)
	legacy.Manifest = bytes.Replace(legacy.Manifest, []byte(types.OCIConfigJSON), []byte("application/octet-stream"), 1)
	elsewhere := tagged.pulled(t, "r.io/a", "1", true)
	elsewhere.Index = fx.index
	size := fx.pulled(t, "r.io/a", "1", true)
	size.Index = bytes.Replace(fx.index, []byte(`"size":401`), []byte(`"size":402`), 1)
	long := fx.pulled(t, "r.io/a", "1", true)
	long.Index = []byte(`{"manifests":[` + strings.Repeat("{},", maxEntries) + "{}]}")
	wrong := fx.pulled(t, "r.io/a", "1", true)
	wrong.Attestation = []byte("{}")
	for name, p := range map[string]Pulled{
		"rewritten": legacy, "not in the index": elsewhere, "another size": size, "too many entries": long,
		"attestation of nothing": wrong, "no host": tagged.pulled(t, "a", "1", true), "no manifest": {Repository: "r.io/a"},
	} {
		if a, err := DockerSave(p); err == nil {
			t.Errorf("%s: archive of %d bytes, want an error", name, a.Size())
		}
	}
}

// FuzzDockerSave gives DockerSave what hostile registries may have.
func FuzzDockerSave(f *testing.F) {
	p := readFixture(f, "index").pulled(f, "r.io/a", "1", true)
	f.Add(p.Manifest, p.Index, p.Attestation)
	f.Add(p.Manifest, []byte(nil), p.Manifest)
	f.Fuzz(func(t *testing.T, manifest, index, attestation []byte) {
		p := Pulled{Image: Image{Manifest: manifest, MediaType: types.OCIManifestSchema1}, Repository: "r.io/a"}
		if len(index) > 0 {
			p.Index = index
			_, _, _ = AttestationOf(index, v1.Hash{}) // an error is an answer
		}
		if len(attestation) > 0 {
			p.Attestation = attestation
		}
		a, err := DockerSave(p)
		if err != nil {
			return
		}
		last, end := "", int64(0)
		for _, m := range a.Members() {
			if m.Name <= last || m.Offset < end {
				t.Fatalf("%s at %d follows %s, which ends at %d", m.Name, m.Offset, last, end)
			}
			last, end = m.Name, m.Data+m.Size
		}
		if a.Size() < end+2*tarBlock {
			t.Fatalf("%d bytes, the last member ends at %d", a.Size(), end)
		}
	})
}
