package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// indexed passes over a layer that is expected to be in order.
func indexed(t testing.TB, compressed, plain []byte) *Index {
	t.Helper()
	var got bytes.Buffer
	x, err := Pass(t.Context(), digestOf(compressed), bytes.NewReader(compressed), &got, PassOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), plain) || x.DiffID != digestOf(plain) {
		t.Fatal("the plain bytes are others")
	}
	if x.Size() != int64(len(plain)) || x.Bytes != int64(len(compressed)) {
		t.Fatalf("%d plain bytes of %d, want %d of %d", x.Size(), x.Bytes, len(plain), len(compressed))
	}
	return x
}

type withContext struct {
	ctx context.Context
	readat.Reader
}

func (w withContext) ReadAt(p []byte, off int64) (int, error) { return w.Reader.ReadAt(w.ctx, p, off) }

func TestReadsAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			plain, compressed := largeLayer(t, e)
			x := indexed(t, compressed, plain)
			r := x.Plain(readat.Bytes(compressed))
			random := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				off := random.Int64N(r.Size() + 2)
				p := make([]byte, random.IntN(100_000))
				if random.IntN(10) == 0 {
					p = make([]byte, random.IntN(10_000_000))
				}
				n, err := r.ReadAt(t.Context(), p, off)
				want := plain[min(off, r.Size()):min(off+int64(len(p)), r.Size())]
				if !bytes.Equal(p[:n], want) || n < len(p) && !errors.Is(err, io.EOF) || n == len(p) && err != nil {
					t.Fatalf("%d of %d bytes at %d, %v", n, len(p), off, err)
				}
			}
			if _, err := r.ReadAt(t.Context(), make([]byte, 1), -1); err == nil {
				t.Error("an offset below zero is read")
			}
		})
	}
}

func TestPlainReaderIsAReader(t *testing.T) {
	plain := archive(t, 8, 30_000)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			r := indexed(t, compressed, plain).Plain(readat.Bytes(compressed))
			if err := iotest.TestReader(io.NewSectionReader(withContext{t.Context(), r}, 0, r.Size()), plain); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSpans: each is one ranged read, and no longer than it has to be.
func TestSpans(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			plain, compressed := largeLayer(t, e)
			blob := &countedReader{b: compressed}
			x := indexed(t, compressed, plain)
			r := x.Plain(blob)
			count := 0
			for off := int64(0); off < r.Size(); count++ {
				begin, end := r.Span(off)
				if begin != off || end <= begin {
					t.Fatalf("the span at %d is from %d to %d", off, begin, end)
				}
				if b, e := r.Span(end - 1); b != begin || e != end {
					t.Fatalf("the span at %d is from %d to %d", end-1, b, e)
				}
				var got bytes.Buffer
				if err := r.CopySpan(t.Context(), &got, off+(end-begin)/2); err != nil || !bytes.Equal(got.Bytes(), plain[begin:end]) {
					t.Fatalf("the span at %d: %v", off, err)
				}
				off = end
			}
			// What is one frame is read in pieces.
			if limit := count + len(compressed)/rangeSize; blob.reads > limit {
				t.Errorf("%d spans are %d reads", count, blob.reads)
			}
			if limit := len(compressed) + count*2*blockSlack; blob.bytes > int64(limit) {
				t.Errorf("%d bytes were read of %d", blob.bytes, len(compressed))
			}
			switch e.name {
			case "zstd", "zstd(1)", "zstd(1) long", "zstd(1) without a checksum":
				if count != 1 {
					t.Errorf("one frame has %d spans", count)
				}
			case "zstd with skippable frames":
				if count != 2 {
					t.Errorf("two frames have %d spans", count)
				}
			case "pzstd":
			default:
				if count < 3 || count > len(plain)/minSpan+1 {
					t.Errorf("%d bytes have %d spans", len(plain), count)
				}
			}
		})
	}
}

// TestSmallReadsInflateOnce: who reads a span in pieces causes one read of the blob.
func TestSmallReadsInflateOnce(t *testing.T) {
	plain := archive(t, 10, 9_000_000)
	compressed := gzipped(6, nil)(t, plain)
	blob := &countedReader{b: compressed}
	r := indexed(t, compressed, plain).Plain(blob)
	got, err := io.ReadAll(struct{ io.Reader }{io.NewSectionReader(withContext{t.Context(), r}, 0, r.Size())})
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatal(err)
	}
	if blob.reads > 3 {
		t.Errorf("%d reads", blob.reads)
	}
}

// TestOtherBytes: a registry that serves other bytes after the layer was indexed is
// found out before they are handed out, whatever it changes.
func TestOtherBytes(t *testing.T) {
	plain := tiny(t)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			x := indexed(t, compressed, plain)
			for i := range compressed {
				other := bytes.Clone(compressed)
				other[i] ^= 0x40
				p := make([]byte, len(plain))
				n, err := x.Plain(readat.Bytes(other)).ReadAt(t.Context(), p, 0)
				if err != nil && (n > 0 || !errors.Is(err, ErrMismatch)) {
					t.Fatalf("byte %d was changed: %d bytes, %v", i, n, err)
				}
				if err == nil && !bytes.Equal(p, plain) {
					t.Fatalf("byte %d was changed, and the plain bytes with it", i)
				}
			}
			if e.name == "gzip padded" {
				return // half of it is enough
			}
			short := x.Plain(readat.Bytes(compressed[:len(compressed)/2]))
			if n, err := short.ReadAt(t.Context(), make([]byte, len(plain)), 0); n > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("half of the blob: %d bytes, %v", n, err)
			}
		})
	}
}

// brokenBlob fails when it is read.
type brokenBlob struct {
	readat.Reader
	err error
}

func (b brokenBlob) ReadAt(ctx context.Context, _ []byte, _ int64) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return 0, b.err
}

func TestBlobErrorIsKept(t *testing.T) {
	plain := archive(t, 12, 100_000)
	lost, killed := errors.New("connection lost"), errors.New("reader killed")
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			r := indexed(t, compressed, plain).Plain(brokenBlob{readat.Bytes(compressed), lost})
			if _, err := r.ReadAt(t.Context(), make([]byte, 10), 50); !errors.Is(err, lost) || errors.Is(err, ErrMismatch) {
				t.Errorf("error %v", err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(killed)
			if _, err := r.ReadAt(ctx, make([]byte, 10), 50); !errors.Is(err, killed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestReadersAtOnce read one layer in several places.
func TestReadersAtOnce(t *testing.T) {
	for _, e := range encodings[:2] {
		plain, compressed := largeLayer(t, e)
		r := indexed(t, compressed, plain).Plain(readat.Bytes(compressed))
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 3))
				for range 10 {
					p := make([]byte, 4096)
					off := random.Int64N(r.Size() - int64(len(p)))
					if _, err := r.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, plain[off:off+int64(len(p))]) {
						t.Errorf("at %d: %v", off, err)
					}
				}
			})
		}
		wait.Wait()
	}
}

// TestSpansOfTheLargestLayer: what is kept of it fits into memory, even where a
// window cannot be compressed.
func TestSpansOfTheLargestLayer(t *testing.T) {
	count, longest := 0, int64(0)
	for off := int64(0); off < MaxPlain; off += spanAfter(off) {
		longest = max(longest, spanAfter(off))
		count++
	}
	if count*windowSize > 512<<20 || longest > 256<<20 {
		t.Errorf("%d spans, the longest of %d bytes", count, longest)
	}
}

// A farReader notes how far it was read.
type farReader struct {
	b        []byte
	from, to int64
}

func (f *farReader) Size() int64 { return int64(len(f.b)) }

func (f *farReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := readat.Bytes(f.b).ReadAt(ctx, p, off)
	f.from, f.to = min(f.from, off), max(f.to, off+int64(n))
	return n, err
}

// TestCompressed: what is fetched ahead of the making of spans is what that reads, and of any
// part of a layer it comes to an end.
func TestCompressed(t *testing.T) {
	plain := variety(t, 60)
	for _, e := range tocEncodings {
		t.Run(e.name, func(t *testing.T) {
			blob, annotations := e.encode(t, plain)
			x := openTOC(t, readat.Bytes(blob), annotations)
			random := rand.New(rand.NewPCG(6, 6))
			ranges := 0
			for range 30 {
				off := random.Int64N(x.Size())
				n := random.Int64N(x.Size()-off) + 1
				for at := off; at < off+n; ranges++ {
					from, to, end := x.Plain(nil).Compressed(at, off+n-at)
					if end <= at || from > to {
						t.Fatalf("%d bytes at %d: blob %d to %d, plain to %d", off+n-at, at, from, to, end)
					}
					read := &farReader{b: blob, from: x.Bytes}
					r := x.Plain(read)
					for at < end {
						if err := r.CopySpan(t.Context(), io.Discard, at); err != nil {
							t.Fatal(err)
						}
						_, at = r.Span(at)
					}
					if read.to > 0 && (read.from != from || read.to != to) {
						t.Errorf("blob %d to %d is said, and %d to %d is read", from, to, read.from, read.to)
					}
				}
			}
			if ranges > 100 {
				t.Errorf("%d ranges", ranges)
			}
		})
	}
	if from, to, end := openTOCOf(t, plain).Compressed(-1, 5); from != to || end > 5 {
		t.Errorf("before the beginning: %d to %d, plain to %d", from, to, end)
	}
}

func openTOCOf(t *testing.T, plain []byte) *PlainReader {
	t.Helper()
	blob, annotations := podmanChunked(t, plain)
	return openTOC(t, readat.Bytes(blob), annotations).Plain(nil)
}
