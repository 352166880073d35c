package imagetar

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

var update = flag.Bool("update", false, "write the golden files")

// sized is a blob of n bytes that differ from blob to blob.
func sized(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func descriptorOf(t testing.TB, mediaType types.MediaType, b []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

// manifestOf is the manifest of an image of these blobs, the config first.
func manifestOf(t testing.TB, blobs ...[]byte) []byte {
	t.Helper()
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: descriptorOf(t, types.OCIConfigJSON, blobs[0])}
	for _, b := range blobs[1:] {
		m.Layers = append(m.Layers, descriptorOf(t, types.OCILayer, b))
	}
	raw, err := json.MarshalIndent(m, "", "   ")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// lay lays out the image of these blobs and returns its bytes too.
func lay(t testing.TB, name Name, blobs ...[]byte) (*Archive, []byte) {
	t.Helper()
	a, err := New(Image{Manifest: manifestOf(t, blobs...), MediaType: types.OCIManifestSchema1, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return a, read(t, a, blobs...)
}

func byDigest(t testing.TB, blobs [][]byte) map[v1.Hash][]byte {
	m := map[v1.Hash][]byte{}
	for _, b := range blobs {
		m[descriptorOf(t, "", b).Digest] = b
	}
	return m
}

func reader(t testing.TB, a *Archive, blobs ...[]byte) readat.Reader {
	t.Helper()
	known := byDigest(t, blobs)
	var readers []readat.Reader
	for _, d := range a.Blobs() {
		readers = append(readers, readat.Bytes(known[d.Digest]))
	}
	r, err := a.Reader(readers)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t testing.TB, a *Archive, blobs ...[]byte) []byte {
	t.Helper()
	r := reader(t, a, blobs...)
	b := make([]byte, r.Size())
	if n, err := r.ReadAt(t.Context(), b, 0); n != len(b) {
		t.Fatalf("%d of %d bytes: %v", n, len(b), err)
	}
	return b
}

// TestGolden holds the layout of two archives, byte for byte.
func TestGolden(t *testing.T) {
	blobs := [][]byte{[]byte(`{"architecture":"amd64","os":"linux"}`), sized(10_000), sized(3), sized(10_000)}
	for name, n := range map[string]Name{
		"tagged": {Repository: "docker.io/library/alpine", Tag: "3.10"},
		"digest": {},
	} {
		t.Run(name, func(t *testing.T) {
			a, raw := lay(t, n, blobs...)
			var got strings.Builder
			for _, m := range a.Members() {
				fmt.Fprintf(&got, "%6d %6d %6d %s\n", m.Offset, m.Data, m.Size, m.Name)
				if strings.HasPrefix(m.Name, "blobs/") {
					continue
				}
				fmt.Fprintf(&got, "\t%s\n", raw[m.Data:m.Data+m.Size])
			}
			fmt.Fprintf(&got, "size %d sha256 %x\n", a.Size(), sha256.Sum256(raw))
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("layout changed:\n%s\nwant:\n%s", got.String(), want)
			}
		})
	}
}

// TestTar reads archives back with archive/tar.
func TestTar(t *testing.T) {
	long := strings.Repeat("t", 128)
	config := []byte(`{}`)
	cases := map[string]struct {
		name  Name
		blobs [][]byte
	}{
		"one layer":              {Name{"localhost:5000/a/b/c", "v1"}, [][]byte{config, sized(100)}},
		"no layer":               {Name{"localhost:5000/a", "v1"}, [][]byte{config}},
		"empty layer":            {Name{}, [][]byte{config, {}}},
		"by digest":              {Name{}, [][]byte{config, sized(4096), sized(512)}},
		"tag of 128 bytes":       {Name{"docker.io/library/alpine", long}, [][]byte{config, sized(5000)}},
		"repeated layer":         {Name{"r.io/a", "b"}, [][]byte{config, sized(700), sized(800), sized(700)}},
		"config that is a layer": {Name{"r.io/a", "b"}, [][]byte{config, config}},
		"many layers":            {Name{"r.io/a", "b"}, append([][]byte{config}, many(100)...)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, raw := lay(t, c.name, c.blobs...)
			known := byDigest(t, c.blobs)
			seen := map[string]bool{}
			tr := tar.NewReader(bytes.NewReader(raw))
			for i := 0; ; i++ {
				h, err := tr.Next()
				if errors.Is(err, io.EOF) {
					if i != len(a.Members()) {
						t.Errorf("%d members, want %d", i, len(a.Members()))
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if m := a.Members()[i]; h.Name != m.Name || h.Size != m.Size {
					t.Fatalf("member %d is %s of %d, want %s of %d", i, h.Name, h.Size, m.Name, m.Size)
				}
				if seen[h.Name] {
					t.Errorf("%s is there twice", h.Name)
				}
				seen[h.Name] = true
				mode := int64(0o644)
				if h.Typeflag == tar.TypeDir {
					mode = 0o755
				}
				if h.Mode != mode || h.Uid+h.Gid != 0 || h.Uname+h.Gname != "" || h.ModTime.Unix() != 0 {
					t.Errorf("%s: mode %o, owner %d:%d %q %q, time %v", h.Name, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime)
				}
				content, err := io.ReadAll(tr)
				if err != nil {
					t.Fatal(err)
				}
				digest := strings.TrimPrefix(h.Name, blobDir)
				if h.Typeflag == tar.TypeReg && digest != h.Name && fmt.Sprintf("%x", sha256.Sum256(content)) != digest {
					t.Errorf("%s does not hold its digest", h.Name)
				}
			}
			for digest := range known {
				if !seen[blobName(digest)] {
					t.Errorf("no member for %s", digest)
				}
			}
			for _, m := range a.Members() {
				digest := v1.Hash{Algorithm: "sha256", Hex: strings.TrimPrefix(m.Name, blobDir)}
				if _, ok := known[digest]; ok && digest != a.Blobs()[0].Digest && m.Data%alignment != 0 {
					t.Errorf("layer %s starts at %d", m.Name, m.Data)
				}
			}
			if end := raw[len(raw)-2*tarBlock:]; !bytes.Equal(end, make([]byte, 2*tarBlock)) || len(raw)%tarBlock != 0 {
				t.Error("the archive does not end with two zero blocks")
			}

			var written bytes.Buffer
			if err := a.Write(t.Context(), &written, func(_ context.Context, w io.Writer, d v1.Descriptor) error {
				_, err := w.Write(known[d.Digest])
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(written.Bytes(), raw) {
				t.Error("Write and Reader differ")
			}
		})
	}
}

func many(n int) (blobs [][]byte) {
	for i := range n {
		blobs = append(blobs, sized(1000+i*37))
	}
	return blobs
}

// TestLayersAreAligned tries every place at which a layer's header can begin.
func TestLayersAreAligned(t *testing.T) {
	for _, size := range []int64{0, 1, 8 << 30, 1 << 40} {
		for at := int64(0); at < 2*alignment; at += tarBlock {
			header, err := header{blobName(v1.Hash{Hex: strings.Repeat("a", 64)}), tar.TypeReg, fileMode, size}.aligned(at)
			if err != nil {
				t.Fatal(err)
			}
			if n := int64(len(header)); (at+n)%alignment != 0 || n > alignment+3*tarBlock {
				t.Errorf("size %d at %d: header of %d bytes", size, at, n)
			}
			h, err := tar.NewReader(bytes.NewReader(header)).Next()
			if err != nil || h.Size != size {
				t.Errorf("size %d at %d: read back as %d, %v", size, at, h.Size, err)
			}
		}
	}
}

// A member of 8 GiB or more takes a PAX header, and no byte of it is touched.
func TestMemberOver8GiB(t *testing.T) {
	const size = 9 << 30
	raw := manifestOf(t, []byte(`{}`), sized(1))
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m.Layers[0].Size = size
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Image{Manifest: raw, MediaType: types.OCIManifestSchema1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Reader([]readat.Reader{readat.Bytes([]byte(`{}`)), readat.Zeros(size)})
	if err != nil {
		t.Fatal(err)
	}
	layer := a.Members()[len(a.Members())-1]
	header := make([]byte, layer.Data-layer.Offset)
	if _, err := r.ReadAt(t.Context(), header, layer.Offset); err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(bytes.NewReader(header)).Next()
	if err != nil || h.Size != size || len(header) < 3*tarBlock {
		t.Errorf("header of %d bytes says %+v, %v", len(header), h, err)
	}
	if end := layer.Data + size + 2*tarBlock; a.Size() != end {
		t.Errorf("size %d, want %d", a.Size(), end)
	}
}

func TestRefused(t *testing.T) {
	good := string(manifestOf(t, []byte("{}"), sized(10), sized(11)))
	layer := descriptorOf(t, "", sized(10))
	other := descriptorOf(t, "", sized(11))
	for name, manifest := range map[string]string{
		"not JSON":          "<html>",
		"an index":          `{"schemaVersion":2,"manifests":[]}`,
		"another algorithm": strings.Replace(good, layer.Digest.String(), "sha512:"+strings.Repeat("a", 128), 1),
		"negative size":     strings.Replace(good, `"size": 10`, `"size": -10`, 1),
		"overflowing size":  strings.Replace(good, `"size": 10`, `"size": 9223372036854775807`, 1),
		"too many layers":   strings.Replace(good, `"layers": [`, `"layers": [`+strings.Repeat(fmt.Sprintf(`{"digest":%q,"size":10},`, layer.Digest), maxLayers-1), 1),
		"layers of no list": `{"config":{},"layers":{}}`,
		"long digest":       strings.Replace(good, layer.Digest.String(), strings.Repeat("x", 100_000), 1),
		"two documents":     good + good,
		"no config":         `{"layers":[]}`,
		"two sizes":         strings.Replace(good, other.Digest.String(), layer.Digest.String(), 1),
	} {
		if a, err := New(Image{Manifest: []byte(manifest), MediaType: types.OCIManifestSchema1}); err == nil {
			t.Errorf("%s: archive of %d bytes, want an error", name, a.Size())
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestReaderOfTheWrongBlobs(t *testing.T) {
	a, _ := lay(t, Name{}, []byte("{}"), sized(10))
	for _, readers := range [][]readat.Reader{nil, {readat.Zeros(2), readat.Zeros(11)}} {
		if _, err := a.Reader(readers); err == nil {
			t.Errorf("%d readers were taken", len(readers))
		}
	}
}

// FuzzNew gives New the manifests of hostile registries.
func FuzzNew(f *testing.F) {
	f.Add(manifestOf(f, []byte("{}"), sized(10), sized(10)), "docker.io/library/alpine", "3.10")
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:aa","size":1}}`), "", "")
	f.Fuzz(func(t *testing.T, manifest []byte, repository, tag string) {
		name := Name{repository, tag}
		if repository == "" || tag == "" || len(tag) > 128 || strings.ContainsAny(repository+tag, "\x00/") {
			name = Name{}
		}
		a, err := New(Image{Manifest: manifest, MediaType: types.OCIManifestSchema1, Name: name})
		if err != nil {
			return
		}
		var blobs []readat.Reader
		for _, d := range a.Blobs() {
			blobs = append(blobs, readat.Zeros(d.Size))
		}
		r, err := a.Reader(blobs)
		if err != nil || r.Size() != a.Size() || a.Size()%tarBlock != 0 {
			t.Fatalf("reader of %v bytes, archive of %d: %v", r, a.Size(), err)
		}
		for _, m := range a.Members() {
			header := make([]byte, m.Data-m.Offset)
			if _, err := r.ReadAt(t.Context(), header, m.Offset); err != nil {
				t.Fatal(err)
			}
			if h, err := tar.NewReader(bytes.NewReader(header)).Next(); err != nil || h.Size != m.Size {
				t.Fatalf("header of %s: %v", m.Name, err)
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	manifest := manifestOf(b, append([][]byte{[]byte("{}")}, many(100)...)...)
	for b.Loop() {
		if _, err := New(Image{Manifest: manifest, MediaType: types.OCIManifestSchema1, Name: Name{"r.io/a", "b"}}); err != nil {
			b.Fatal(err)
		}
	}
}
