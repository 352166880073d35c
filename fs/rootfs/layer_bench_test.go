package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// ordinary is a layer as images have them, of so many files: text and programs, a third of it
// when compressed.
func ordinary(b testing.TB, files, size int) []byte {
	b.Helper()
	random := rand.New(rand.NewPCG(5, 5))
	data := content(77, 8<<20)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range files {
		n := random.IntN(2 * size)
		from := random.IntN(len(data) - n)
		h := &tar.Header{Name: fmt.Sprintf("usr/lib/python3/dist-packages/package%d/module%d.py", i/40, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(n)}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(data[from : from+n]); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return archive.Bytes()
}

// BenchmarkIndexPass is a pass over a layer, beside what it cannot be faster than. The rate is
// that of plain bytes.
func BenchmarkIndexPass(b *testing.B) {
	plain := ordinary(b, 4000, 12_000)
	zipped, frames := gzipped(6, nil)(b, plain), zstandard(b, plain)
	stargz, _ := built()(b, plain)
	for _, c := range []struct {
		name string
		blob []byte
	}{{"gzip", zipped}, {"stargz", stargz}, {"zstd", frames}, {"plain", plain}} {
		digest := digestOf(c.blob)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Pass(b.Context(), digest, bytes.NewReader(c.blob), io.Discard, PassOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, c := range []struct {
		name string
		open func() (io.Reader, error)
	}{
		{"only gzip of the standard library", func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(zipped)) }},
		{"only gzip", func() (io.Reader, error) { return kgzip.NewReader(bytes.NewReader(zipped)) }},
		{"only stargz", func() (io.Reader, error) { return kgzip.NewReader(bytes.NewReader(stargz)) }},
		{"only zstd", func() (io.Reader, error) {
			return zstd.NewReader(bytes.NewReader(frames), zstd.WithDecoderConcurrency(1))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				r, err := c.open()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSpanRead reads 4 KiB anywhere, of layers whose plain bytes are nowhere.
func BenchmarkSpanRead(b *testing.B) {
	plain := ordinary(b, 4000, 12_000)
	for _, e := range []compression{{"gzip", gzipped(6, nil)}, {"zstd frames", members(2_000_000, zstandard)}, {"plain", encodings[0].encode}} {
		compressed := e.encode(b, plain)
		r := indexed(b, compressed, plain).Plain(readat.Bytes(compressed))
		b.Run(e.name, func(b *testing.B) {
			readsAnywhere(b, r)
		})
	}
	for _, e := range tocEncodings[:1] {
		blob, annotations := e.encode(b, plain)
		b.Run(e.name, func(b *testing.B) {
			readsAnywhere(b, openTOC(b, readat.Bytes(blob), annotations).Plain(readat.Bytes(blob)))
		})
	}
}

func readsAnywhere(b *testing.B, r *PlainReader) {
	random := rand.New(rand.NewPCG(6, 6))
	p := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadAt(b.Context(), p, random.Int64N(r.Size()-int64(len(p)))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoadIndex opens what is kept of a layer of 14,000 files, and reads the table of
// contents of the same.
func BenchmarkLoadIndex(b *testing.B) {
	plain := ordinary(b, 14_000, 4000)
	compressed := gzipped(1, nil)(b, plain)
	x := indexed(b, compressed, plain)
	kept := stored(b, x)
	b.Run("stored", func(b *testing.B) {
		b.ReportMetric(float64(len(kept)), "bytes")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseIndex(kept, x.Blob); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, e := range []tocEncoding{tocEncodings[0], tocEncodings[5]} {
		blob, annotations := e.encode(b, plain)
		b.Run(e.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				openTOC(b, readat.Bytes(blob), annotations)
			}
		})
	}
}
