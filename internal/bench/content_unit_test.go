package bench

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestLayer: a layer is the same each time, is what is said of it, has about the
// size that was asked for and compresses as images do.
func TestLayer(t *testing.T) {
	m := newMaterial()
	for _, size := range []int64{1000, 4e6} {
		var out, again bytes.Buffer
		layer, err := m.writeLayer(&out, 1, size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newMaterial().writeLayer(&again, 1, size); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Error("it is another one the second time")
		}
		read, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		if d, err := read.Digest(); err != nil || d.String() != layer.DigestOf {
			t.Errorf("digest %s, %v, want %s", d, err, layer.DigestOf)
		}
		if d, err := read.DiffID(); err != nil || d.String() != layer.DiffIDOf {
			t.Errorf("diff ID %s, %v, want %s", d, err, layer.DiffIDOf)
		}
		if int64(out.Len()) != layer.Length || layer.Length < size*8/10 || layer.Length > size*12/10+2000 {
			t.Errorf("%d bytes, said %d, want about %d", out.Len(), layer.Length, size)
		}
		if files, directories := counted(t, read); size > 1e6 && (files < 4*directories || files > 10*directories) {
			t.Errorf("%d files in %d directories", files, directories)
		}
		if ratio := float64(layer.Plain) / float64(layer.Length); size > 1e6 && (ratio < 2.2 || ratio > 2.8) {
			t.Errorf("compresses %.2f to 1", ratio)
		}
	}
}

// counted are the files of a layer, and the directories that these are in.
func counted(t *testing.T, layer v1.Layer) (files, directories int) {
	t.Helper()
	plain, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	seen := map[string]bool{}
	for archive := tar.NewReader(plain); ; files++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, len(seen)
		} else if err != nil {
			t.Fatal(err)
		}
		seen[path.Dir(h.Name)] = true
	}
}
