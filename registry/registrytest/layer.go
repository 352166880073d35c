package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Member is an entry of a layer's archive; its size is that of Content.
type Member struct {
	tar.Header
	Content string
}

// Regular is a member that is a file.
func Regular(name, content string) Member {
	return Member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

// Archive is an archive of members.
func Archive(t testing.TB, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.Content))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A Layer is a layer of which the plain bytes are what somebody says.
type Layer struct {
	v1.Layer
	Plain v1.Hash
}

// DiffID is the digest of the plain bytes.
func (l Layer) DiffID() (v1.Hash, error) { return l.Plain, nil }

// Gzipped is a layer of plain bytes, compressed by gzip.
func Gzipped(t testing.TB, plain []byte) Layer {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(plain)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return Layer{static.NewLayer(b.Bytes(), types.OCILayer), DigestOf(plain)}
}

// Stargz is a layer in the form of eStargz, and the annotations of its descriptor.
func Stargz(t testing.TB, plain []byte) (Layer, map[string]string) {
	t.Helper()
	blob, err := estargz.Build(io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))), estargz.WithChunkSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(blob)
	if err = errors.Join(err, blob.Close()); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	annotations := map[string]string{estargz.TOCJSONDigestAnnotation: blob.TOCDigest().String()}
	return Layer{static.NewLayer(b, types.OCILayer), DigestOf(plain)}, annotations
}

// ImageOf is an image of layers, the lowest first.
func ImageOf(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	addenda := make([]mutate.Addendum, len(layers))
	for i, l := range layers {
		addenda[i].Layer = l
	}
	return ImageWith(t, addenda...)
}

// ImageWith is an image of layers with what its manifest and config say of them.
func ImageWith(t testing.TB, layers ...mutate.Addendum) v1.Image {
	t.Helper()
	image, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}
