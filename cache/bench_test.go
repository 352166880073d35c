package cache

import (
	"fmt"
	"testing"
)

// BenchmarkReadHit reads what is there, as the kernel asks for it: 128 KiB at a
// time, at offsets that an archive's headers have shifted.
func BenchmarkReadHit(b *testing.B) {
	const size, piece, shift = 32 << 20, 128 << 10, 512
	for _, form := range []string{"whole", "partial"} {
		b.Run(form, func(b *testing.B) {
			from, d := newSource(size)
			r := openBlob(b, openStore(b, b.TempDir()), d, size, from)
			end := int64(size)
			if form == "partial" {
				end -= chunkSize
			}
			prefetch(r, 0, end)
			if _, err := r.ReadAt(b.Context(), make([]byte, end), 0); err != nil {
				b.Fatal(err)
			}
			p := make([]byte, piece)
			b.SetBytes(piece)
			b.ReportAllocs()
			off := int64(shift)
			for b.Loop() {
				if _, err := r.ReadAt(b.Context(), p, off); err != nil {
					b.Fatal(err)
				}
				if off += piece; off+piece > end {
					off = shift
				}
			}
		})
	}
}

// BenchmarkReadMiss reads single chunks of which none is there.
func BenchmarkReadMiss(b *testing.B) {
	const size = 256 << 20
	from, d := newSource(size)
	s := openStore(b, b.TempDir())
	p := make([]byte, chunkSize)
	b.SetBytes(chunkSize)
	b.ReportAllocs()
	off, blob := int64(size), 0
	var r *Reader
	for b.Loop() {
		if off+2*chunkSize > size { // the last chunk would be the time of a digest
			if r != nil {
				_ = r.Close()
			}
			var err error
			if r, err = s.Repository(fmt.Sprint(blob)).Blob(d, size, from).Open(b.Context()); err != nil {
				b.Fatal(err)
			}
			off, blob = 0, blob+1
		}
		if _, err := r.ReadAt(b.Context(), p, off); err != nil {
			b.Fatal(err)
		}
		off += 2 * chunkSize
	}
	_ = r.Close()
}

// BenchmarkReadSequential reads a blob from its beginning to its end with
// read-ahead, the digest included.
func BenchmarkReadSequential(b *testing.B) {
	const size, piece, window = 64 << 20, 128 << 10, 8 << 20
	from, d := newSource(size)
	p := make([]byte, piece)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r := openBlob(b, openStore(b, b.TempDir()), d, size, from)
		b.StartTimer()
		for off := int64(0); off < size; off += piece {
			if off%window == 0 {
				prefetch(r, off, 2*window)
			}
			if _, err := r.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkOpen opens a blob of 9 GiB of which its first and its last chunk are
// there.
func BenchmarkOpen(b *testing.B) {
	const size = 9 << 30
	d := digestOf(nil)
	s := openStore(b, b.TempDir())
	r, err := s.Repository("registry.example.com/a").Blob(d, size, zeros).Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, off := range []int64{0, size - chunkSize} {
		if _, err := r.ReadAt(b.Context(), make([]byte, 1), off); err != nil {
			b.Fatal(err)
		}
	}
	_ = r.Close()
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Repository("registry.example.com/a").Blob(d, size, zeros).Open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}
