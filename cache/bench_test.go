package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// BenchmarkReadPlain reads plain bytes of a layer that are on disk, in order, as the
// kernel asks for them: for the first time in a process, when each piece is checked, and
// from then on.
func BenchmarkReadPlain(b *testing.B) {
	const size, piece = 256 << 20, 128 << 10
	p := &madePlain{content: make([]byte, size), begins: []int64{0}}
	_, _ = rand.NewChaCha8([32]byte{}).Read(p.content)
	s := openStore(b, b.TempDir())
	l := s.Layer(LayerID{Blob: digestOf(nil)})
	fill(b, l, p.content, text("index"))
	read := func(b *testing.B, r *Plain, buffer []byte) {
		for off := int64(0); off < size; off += int64(len(buffer)) {
			if _, err := r.ReadAt(b.Context(), buffer, off); err != nil {
				b.Fatal(err)
			}
		}
	}
	for name, n := range map[string]int{"128KiB": piece, "1MiB": 1 << 20} {
		buffer := make([]byte, n)
		b.Run("first "+name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				r := openPlain(b, openStore(b, s.dir).Layer(l.id), p)
				b.StartTimer()
				read(b, r, buffer)
			}
		})
		b.Run("next "+name, func(b *testing.B) {
			r := openPlain(b, l, p)
			read(b, r, buffer)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				read(b, r, buffer)
			}
		})
	}
	b.Run("4KiB at random", func(b *testing.B) {
		r := openPlain(b, l, p)
		read(b, r, make([]byte, piece))
		random := rand.New(rand.NewPCG(1, 1))
		buffer := make([]byte, 4<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.ReadAt(b.Context(), buffer, random.Int64N(size-4<<10)); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := p.counts(); n > 0 {
		b.Errorf("%d spans were made", n)
	}
}

// BenchmarkFill keeps a layer of 1 GB, as it comes out of a decoder: 32 KiB at a time.
func BenchmarkFill(b *testing.B) {
	const size, piece = 1_000_000_000, 32 << 10
	content := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	s := openStore(b, b.TempDir())
	l := s.Layer(LayerID{Blob: digestOf(nil)})
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		f := l.Fill()
		for n := 0; n < size; n += piece {
			at := n % len(content)
			if _, err := f.Write(content[at : at+min(piece, size-n)]); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(f.Keep(text("index")), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlainMade reads plain bytes in order that are not there, of which a span of
// 4 MiB costs nothing but the copying.
func BenchmarkPlainMade(b *testing.B) {
	const size, piece = 256 << 20, 128 << 10
	p := &madePlain{content: make([]byte, size)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(p.content)
	for off := int64(0); off < size; off += 4 << 20 {
		p.begins = append(p.begins, off)
	}
	buffer := make([]byte, piece)
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		s := openStore(b, b.TempDir())
		r := openPlain(b, s.Layer(LayerID{Blob: digestOf(nil)}), p)
		b.StartTimer()
		for off := int64(0); off < size; off += piece {
			if _, err := r.ReadAt(b.Context(), buffer, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPlainOpen opens a layer of which everything is on disk, reads 4 KiB and closes
// it, as one does who reads many small files, while nobody else has it open and while
// somebody has.
func BenchmarkPlainOpen(b *testing.B) {
	const size = 64 << 20
	p := &madePlain{content: make([]byte, size), begins: []int64{0}}
	_, _ = rand.NewChaCha8([32]byte{}).Read(p.content)
	l := openStore(b, b.TempDir()).Layer(LayerID{Blob: digestOf(nil)})
	fill(b, l, p.content, text("index"))
	for _, name := range []string{"alone", "open"} {
		b.Run(name, func(b *testing.B) {
			if name == "open" {
				other := openPlain(b, l, p)
				mustReadPlain(b, other, p.content)
			}
			buffer := make([]byte, 4<<10)
			off := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				r := l.Plain(p)
				if _, err := r.ReadAt(b.Context(), buffer, off); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
				if off += int64(len(buffer)); off == size {
					off = 0
				}
			}
		})
	}
}
