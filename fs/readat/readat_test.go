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
		"concat":           {Concat(Bytes(b[:1]), Bytes(nil), Bytes(b[1:512]), Bytes(b[512:])), b},
		"concat of zeros":  {Concat(Bytes(b[:3]), Zeros(7), Bytes(b[3:5])), append(append(bytes.Clone(b[:3]), make([]byte, 7)...), b[3:5]...)},
		"concat of none":   {Concat(), nil},
		"concat of concat": {Concat(Concat(Bytes(b[:10]), Bytes(b[10:20])), Bytes(b[20:])), b},
		"read ahead":       {ReadAhead(Concat(Bytes(b)), NewBudget(1<<20, 1)), b},
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
	r := Concat(Bytes(pattern(5)), short{Bytes(pattern(100))}, Bytes(pattern(5)))
	n, err := r.ReadAt(t.Context(), make([]byte, r.Size()), 0)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, error %v, want unexpected EOF", n, err)
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
