package readat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// withContext makes an io.ReaderAt of a Reader.
type withContext struct {
	ctx context.Context
	Reader
}

func (w withContext) ReadAt(p []byte, off int64) (int, error) {
	return w.Reader.ReadAt(w.ctx, p, off)
}

func seeker(t *testing.T, r Reader) *io.SectionReader {
	return io.NewSectionReader(withContext{t.Context(), r}, 0, r.Size())
}

func TestReaders(t *testing.T) {
	b := pattern(10_000)
	cases := map[string]struct {
		r    Reader
		want []byte
	}{
		"bytes":            {Bytes(b), b},
		"no bytes":         {Bytes(nil), nil},
		"zeros":            {Zeros(5000), make([]byte, 5000)},
		"section":          {Section(Bytes(b), 17, 900), b[17:917]},
		"empty section":    {Section(Bytes(b), 10_000, 0), nil},
		"concat":           {Concat(Bytes(b[:1]), Bytes(nil), Bytes(b[1:512]), Section(Bytes(b), 512, 9488)), b},
		"concat of zeros":  {Concat(Bytes(b[:3]), Zeros(7), Bytes(b[3:5])), append(append(bytes.Clone(b[:3]), make([]byte, 7)...), b[3:5]...)},
		"concat of none":   {Concat(), nil},
		"concat of concat": {Concat(Concat(Bytes(b[:10]), Bytes(b[10:20])), Bytes(b[20:])), b},
		"read ahead":       {ReadAhead(Concat(Bytes(b))), b},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := iotest.TestReader(seeker(t, c.r), c.want); err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 500 {
				off := random.Int64N(c.r.Size() + 2)
				p := make([]byte, random.IntN(3000))
				n, err := c.r.ReadAt(t.Context(), p, off)
				want := []byte{}
				if off < int64(len(c.want)) {
					want = c.want[off:min(off+int64(len(p)), int64(len(c.want)))]
				}
				if !bytes.Equal(p[:n], want) {
					t.Fatalf("%d bytes at %d differ", len(p), off)
				}
				if n < len(p) && !errors.Is(err, io.EOF) {
					t.Fatalf("%d of %d bytes at %d: error %v, want EOF", n, len(p), off, err)
				}
			}
			if _, err := c.r.ReadAt(t.Context(), make([]byte, 1), -1); !errors.Is(err, errNegative) {
				t.Errorf("read at -1: %v", err)
			}
		})
	}
}

// short ends before its size, as a damaged part does.
type short struct{ Reader }

func (s short) Size() int64 { return s.Reader.Size() + 10 }

func TestEarlyEndIsAnError(t *testing.T) {
	for name, r := range map[string]Reader{
		"concat":  Concat(Bytes(pattern(5)), short{Bytes(pattern(100))}, Bytes(pattern(5))),
		"section": Section(short{Bytes(pattern(100))}, 0, 110),
	} {
		n, err := r.ReadAt(t.Context(), make([]byte, r.Size()), 0)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %d bytes, error %v, want unexpected EOF", name, n, err)
		}
	}
}

// broken has an error in place of its bytes.
type broken struct{ err error }

func (b broken) Size() int64 { return 10 }

func (b broken) ReadAt(context.Context, []byte, int64) (int, error) { return 0, b.err }

// A connection that a registry has closed says io.EOF, and whose it was: that is
// neither the end of the part, nor lost.
func TestErrorOfAPartIsKept(t *testing.T) {
	closed := fmt.Errorf("get blob registry.example.com/a@sha256:00: %w", io.EOF)
	r := Concat(Bytes(pattern(5)), broken{closed}, Bytes(pattern(5)))
	n, err := r.ReadAt(t.Context(), make([]byte, r.Size()), 0)
	if n != 5 || err != closed { //nolint:errorlint // that very one
		t.Errorf("%d bytes, error %v, want 5, %v", n, err, closed)
	}
}

func TestSectionOutsidePanics(t *testing.T) {
	for _, c := range [][2]int64{{-1, 2}, {0, -1}, {5, 6}, {11, 0}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Section(%d, %d) of 10 bytes: no panic", c[0], c[1])
				}
			}()
			Section(Zeros(10), c[0], c[1])
		}()
	}
}

// asked records what it is told to prefetch.
type asked struct {
	Reader
	ranges [][2]int64
}

func (a *asked) Prefetch(off, n int64) { a.ranges = append(a.ranges, [2]int64{off, n}) }

func TestConcatForwardsPrefetch(t *testing.T) {
	first, second := &asked{Reader: Zeros(100)}, &asked{Reader: Zeros(100)}
	c := Concat(Bytes(make([]byte, 10)), first, Bytes(make([]byte, 10)), Section(second, 20, 50))
	c.(Prefetcher).Prefetch(50, 1000)
	if len(first.ranges) != 1 || first.ranges[0] != [2]int64{40, 60} {
		t.Errorf("first part: %v, want its last 60 bytes", first.ranges)
	}
	if len(second.ranges) != 1 || second.ranges[0] != [2]int64{20, 50} {
		t.Errorf("second part: %v, want 50 bytes at 20", second.ranges)
	}
	c.(Prefetcher).Prefetch(-5, 5)
	c.(Prefetcher).Prefetch(170, 5)
	if len(first.ranges)+len(second.ranges) != 2 {
		t.Error("a range outside was forwarded")
	}
}

// TestReadAhead reads as programs do and looks at what is prefetched.
func TestReadAhead(t *testing.T) {
	const size = 200 << 20
	open := func() (*asked, Reader) {
		a := &asked{Reader: Zeros(size)}
		return a, ReadAhead(a)
	}
	read := func(r Reader, off, n int64) {
		if _, err := r.ReadAt(t.Context(), make([]byte, n), off); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}

	t.Run("records around headers", func(t *testing.T) {
		a, r := open()
		for off := int64(0); off < size; off += 10 << 20 {
			for i := range int64(3) {
				read(r, off+i*10240, 10240)
			}
		}
		if a.ranges != nil {
			t.Errorf("prefetched %v", a.ranges)
		}
	})
	t.Run("the same again", func(t *testing.T) {
		a, r := open()
		for range 1000 {
			read(r, 0, 4096)
		}
		if a.ranges != nil {
			t.Errorf("prefetched %v", a.ranges)
		}
	})
	t.Run("one pass in no order", func(t *testing.T) {
		// As the kernel sends the READs of one read(2).
		a, r := open()
		for off := int64(0); off < 8<<20; off += 512 << 10 {
			for _, i := range []int64{1, 0, 3, 2} {
				read(r, off+i*128<<10, 128<<10)
			}
		}
		if len(a.ranges) == 0 || a.ranges[len(a.ranges)-1][0] < 8<<20 {
			t.Errorf("prefetched %v", a.ranges)
		}
	})
	t.Run("one pass", func(t *testing.T) {
		a, r := open()
		for off := int64(0); off < size; off += 128 << 10 {
			read(r, off, 128<<10)
		}
		if len(a.ranges) > 64 {
			t.Errorf("%d ranges for one pass", len(a.ranges))
		}
		at := a.ranges[0][0]
		for _, rg := range a.ranges {
			if rg[0] != at || rg[1] <= 0 || rg[1] > maxWindow+maxStep {
				t.Fatalf("range %v after %d: a gap, an overlap or too long", rg, at)
			}
			at += rg[1]
		}
		if at != size {
			t.Errorf("prefetched up to %d of %d", at, int64(size))
		}
	})
	t.Run("a seek closes the window", func(t *testing.T) {
		a, r := open()
		for off := int64(0); off < 8<<20; off += 1 << 20 {
			read(r, off, 1<<20)
		}
		before := len(a.ranges)
		read(r, 100<<20, 128<<10)
		if len(a.ranges) != before {
			t.Errorf("a seek prefetched %v", a.ranges[before:])
		}
	})
	t.Run("a reader without prefetch is left alone", func(t *testing.T) {
		if r := ReadAhead(Zeros(3)); r != Zeros(3) {
			t.Errorf("got %T", r)
		}
	})
}

func BenchmarkConcatReadAt(b *testing.B) {
	var parts []Reader
	for range 200 { // a header and a layer each, as an image of a hundred layers
		parts = append(parts, Bytes(make([]byte, 4096)), Zeros(10<<20))
	}
	c := Concat(parts...)
	for _, n := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			off := int64(0)
			for b.Loop() {
				if _, err := c.ReadAt(b.Context(), p, off); err != nil {
					b.Fatal(err)
				}
				off = (off + 12345678) % (c.Size() - int64(n))
			}
		})
	}
}
