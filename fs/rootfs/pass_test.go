package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// archive returns a tar of files of about so many bytes in all, as long as that
// is not less than 10,000.
func archive(t testing.TB, seed uint64, size int) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	data := content(seed, size)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; b.Len() < size-10<<10; i++ {
		n := random.IntN(1 << (3 + random.IntN(18)))
		n = min(n, size-b.Len()-4096)
		from := random.IntN(len(data) - n + 1)
		h := &tar.Header{Name: fmt.Sprintf("dir%d/file%d", i%50, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(n)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data[from : from+n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tiny returns a tar of one small file.
func tiny(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "file", Typeflag: tar.TypeReg, Mode: 0o644, Size: 300}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content(1, 300)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPassNoticesEveryByte flips each byte of a layer.
func TestPassNoticesEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	plain := tiny(t)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			for i := range compressed {
				damaged := bytes.Clone(compressed)
				damaged[i] ^= 1 << (i % 8)
				_, err := Pass(t.Context(), digestOf(compressed), verified(digestOf(compressed), damaged), io.Discard, PassOptions{})
				if !errors.Is(err, errOther) && !errors.Is(err, ErrTooLarge) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
		})
	}
}

// verified is a reader that checks the digest, as those of layers do.
func verified(d v1.Hash, b []byte) io.Reader {
	end := io.EOF
	if digestOf(b) != d {
		end = errOther
	}
	return io.MultiReader(bytes.NewReader(b), iotest.ErrReader(end))
}

var errOther = errors.New("it has another digest")

func TestPassVerifies(t *testing.T) {
	plain := archive(t, 22, 50_000)
	compressed := gzipped(6, nil)(t, plain)
	other := digestOf([]byte("other"))
	for _, b := range [][]byte{compressed, plain, []byte("\x1f\x8bsomething"), bytes.Repeat(zstandard(t, plain), 2)[:20_000]} {
		if _, err := Pass(t.Context(), other, verified(other, b), io.Discard, PassOptions{}); !errors.Is(err, errOther) {
			t.Errorf("another layer: %v", err)
		}
	}
	x, err := Pass(t.Context(), digestOf(compressed), bytes.NewReader(compressed), io.Discard, PassOptions{})
	if err != nil || x.DiffID != digestOf(plain) || x.Codec != Gzip || x.Blob != digestOf(compressed) {
		t.Errorf("%+v, %v", x, err)
	}
	malformed := append(bytes.Clone(compressed), "something"...)
	if _, err := Pass(t.Context(), digestOf(malformed), bytes.NewReader(malformed), io.Discard, PassOptions{}); !errors.Is(err, ErrFormat) || errors.Is(err, ErrMismatch) {
		t.Errorf("a layer that is malformed where it comes from: %v", err)
	}
}

// TestPassIsBounded: a layer that grows without end is given up, long before it
// has been inflated.
func TestPassIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	w, err := gzip.NewWriterLevel(&bomb, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeroReader{}, 100<<20); err != nil {
		t.Fatal(err)
	}
	write(t, w, nil)
	var written counted
	_, err = Pass(t.Context(), v1.Hash{}, &bomb, counter{&written}, PassOptions{MaxPlain: 1 << 20})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if written.n > 1<<20 {
		t.Errorf("%d bytes were written", written.n)
	}
}

// counter counts what is written.
type counter struct{ *counted }

func (c counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// full is a disk that takes some bytes.
type full struct{ left int }

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestPassEndsWithAnError(t *testing.T) {
	plain := archive(t, 23, 5_000_000)
	compressed := gzipped(1, nil)(t, plain)
	digest := digestOf(compressed)
	if _, err := Pass(t.Context(), digest, bytes.NewReader(compressed), &full{2_000_000}, PassOptions{}); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
	lost := errors.New("connection lost")
	cut := io.MultiReader(bytes.NewReader(compressed[:len(compressed)/2]), iotest.ErrReader(lost))
	if _, err := Pass(t.Context(), digest, cut, io.Discard, PassOptions{}); !errors.Is(err, lost) {
		t.Errorf("a lost connection: %v", err)
	}
	killed := errors.New("mount ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	half := io.MultiReader(bytes.NewReader(compressed[:len(compressed)/2]), endsContext{cancel, killed}, bytes.NewReader(compressed[len(compressed)/2:]))
	if _, err := Pass(ctx, digest, half, io.Discard, PassOptions{}); !errors.Is(err, killed) {
		t.Errorf("an ended context: %v", err)
	}
}

// endsContext ends a context when it is read, and has nothing.
type endsContext struct {
	cancel context.CancelCauseFunc
	cause  error
}

func (e endsContext) Read([]byte) (int, error) {
	e.cancel(e.cause)
	return 0, io.EOF
}

// TestEntriesHoldTheirBytes reads each file through the table, as a mount does.
func TestEntriesHoldTheirBytes(t *testing.T) {
	plain := archive(t, 24, 600_000)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			x := indexed(t, compressed, plain)
			r := x.Plain(readat.Bytes(compressed))
			from, i := tar.NewReader(bytes.NewReader(plain)), 0
			for ; ; i++ {
				h, err := from.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				want, err := io.ReadAll(from)
				if err != nil {
					t.Fatal(err)
				}
				entry := x.Table.Entry(i)
				got := make([]byte, entry.Size)
				if _, err := r.ReadAt(t.Context(), got, entry.Data); err != nil || entry.Name != h.Name || !bytes.Equal(got, want) {
					t.Fatalf("%q for %q: %v", entry.Name, h.Name, err)
				}
			}
			if i != x.Table.Len() || i < 5 {
				t.Errorf("%d entries, want %d", x.Table.Len(), i)
			}
		})
	}
}

func TestPassReportsEntries(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"good", strings.Repeat("a/", 2000) + "deep", "better"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var told []string
	x, err := Pass(t.Context(), digestOf(b.Bytes()), &b, io.Discard, PassOptions{Report: func(e *EntryError) { told = append(told, e.Reason) }})
	if err != nil || x.Table.Len() != 2 || len(told) != 1 {
		t.Errorf("%v, told %q", err, told)
	}
}

// TestNoArchive: what is compressed rightly may be no tar.
func TestNoArchive(t *testing.T) {
	for _, plain := range [][]byte{content(1, 5000), tiny(t)[:700]} {
		compressed := gzipped(6, nil)(t, plain)
		if _, err := Pass(t.Context(), digestOf(compressed), bytes.NewReader(compressed), io.Discard, PassOptions{}); !errors.Is(err, ErrFormat) {
			t.Errorf("error %v", err)
		}
	}
	for name, empty := range map[string][]byte{"plain": nil, "gzip": gzipped(6, nil)(t, nil), "zstd": zstandard(t, nil)} {
		x, err := Pass(t.Context(), digestOf(empty), bytes.NewReader(empty), io.Discard, PassOptions{})
		if err != nil || x.Size() != 0 || x.Table.Len() != 0 {
			t.Errorf("an empty layer, %s: %+v, %v", name, x, err)
		}
	}
}

// A panicReader reads what it has, and then panics.
type panicReader struct{ io.Reader }

func (r panicReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		panic("a mistake")
	}
	return n, nil
}

// TestPassPanics: a mistake of a decoder leaves no goroutine behind. The bubble would tell.
func TestPassPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("it did not panic")
			}
		}()
		_, _ = Pass(t.Context(), v1.Hash{}, panicReader{strings.NewReader(strings.Repeat("x", 100))}, io.Discard, PassOptions{})
	})
}
