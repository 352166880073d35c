package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
)

// archive is a tar archive in which one name is there twice, and a file has several
// chunks.
func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"a", bytes.Repeat([]byte("text "), 50_000)},
		{"a", []byte("again")},
		{"zeros", append(make([]byte, 100_000), "end"...)},
		{"empty", nil},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decoders are those of others.
func decoder(t *testing.T, l Layer) io.Reader {
	t.Helper()
	switch l.MediaType {
	case Gzip.mediaType:
		r, err := gzip.NewReader(bytes.NewReader(l.Blob))
		if err != nil {
			t.Fatal(err)
		}
		return r
	case Zstd.mediaType:
		r, err := zstd.NewReader(bytes.NewReader(l.Blob))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	return bytes.NewReader(l.Blob)
}

// TestEncodings: whatever the encoding, a layer begins with the archive, and has the
// DiffID that it says.
func TestEncodings(t *testing.T) {
	for name, plain := range map[string][]byte{"files": archive(t), "no files": make([]byte, 1024)} {
		for _, e := range All() {
			t.Run(name+"/"+e.Name, func(t *testing.T) {
				l, err := e.Encode(plain)
				if err != nil {
					t.Fatal(err)
				}
				decoded, err := io.ReadAll(decoder(t, l))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.HasPrefix(decoded, plain) || e.Name != EStargz.Name && len(decoded) != len(plain) {
					t.Errorf("%d bytes came to %d others", len(plain), len(decoded))
				}
				if l.DiffID != digestOf(decoded) {
					t.Errorf("DiffID %s, not %s", l.DiffID, digestOf(decoded))
				}
				if e.TOC != (len(l.Annotations) > 0) {
					t.Errorf("annotations %q", l.Annotations)
				}
			})
		}
	}
}

// TestEStargzIsOne: the library that reads eStargz takes what is made of it.
func TestEStargzIsOne(t *testing.T) {
	l, err := EStargz.Encode(archive(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(l.Blob), 0, int64(len(l.Blob))))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.OpenFile("zeros")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, append(make([]byte, 100_000), "end"...)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if r.TOCDigest().String() != l.Annotations[estargz.TOCJSONDigestAnnotation] {
		t.Errorf("the table is %s; annotations %q", r.TOCDigest(), l.Annotations)
	}
}
