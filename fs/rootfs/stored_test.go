package rootfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

func stored(t testing.TB, x *Index) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := x.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func TestStoredIndex(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			plain, compressed := largeLayer(t, e)
			x := indexed(t, compressed, plain)
			b := stored(t, x)
			y, err := ParseIndex(b, x.Blob)
			if err != nil {
				t.Fatal(err)
			}
			if y.Blob != x.Blob || y.DiffID != x.DiffID || y.Bytes != x.Bytes || y.Codec != x.Codec || y.Size() != x.Size() || y.Table.Len() != x.Table.Len() {
				t.Errorf("%+v is read as %+v", x, y)
			}
			if !bytes.Equal(stored(t, y), b) {
				t.Error("stored again, it is another")
			}
			got := make([]byte, len(plain))
			if _, err := y.Plain(readat.Bytes(compressed)).ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, plain) {
				t.Error(err)
			}
			if limit := len(plain)/250 + 20*x.Table.Len() + 512; len(b) > limit && e.name != "gzip small members" {
				t.Errorf("%d bytes are kept of %d and %d entries, want %d at most", len(b), len(plain), x.Table.Len(), limit)
			}
		})
	}
}

// TestDamagedIndex flips every byte of an index and cuts it everywhere: it is a miss,
// or, where a window was hit, the reading of that span.
func TestDamagedIndex(t *testing.T) {
	plain := archive(t, 31, 10_000_000)
	compressed := gzipped(1, nil)(t, plain)
	x := indexed(t, compressed, plain)
	b := stored(t, x)
	windows := 0
	for _, w := range x.spans.windows {
		windows += len(w)
	}
	if windows == 0 {
		t.Fatal("there are no windows")
	}
	for i := range len(b) - windows {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1 << (i % 8)
		if y, err := ParseIndex(damaged, x.Blob); y != nil || !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range b {
		if y, err := ParseIndex(b[:n], x.Blob); y != nil || !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := ParseIndex(append(bytes.Clone(b), 0), x.Blob); !errors.Is(err, ErrDamaged) {
		t.Errorf("too long: %v", err)
	}
	if _, err := ParseIndex(b, digestOf(plain)); !errors.Is(err, ErrDamaged) {
		t.Errorf("of another layer: %v", err)
	}
	for i := len(b) - windows; i < len(b); i += 997 {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1 << (i % 8)
		y, err := ParseIndex(damaged, x.Blob)
		if err != nil {
			t.Fatal(err)
		}
		r := y.Plain(readat.Bytes(compressed))
		var failed error
		for off := int64(0); off < r.Size(); _, off = r.Span(off) {
			if err := r.CopySpan(t.Context(), io.Discard, off); err != nil {
				failed = err
			}
		}
		if !errors.Is(failed, ErrDamaged) {
			t.Errorf("byte %d, of a window: %v", i, failed)
		}
	}
}

func TestOnlySHA256IsKept(t *testing.T) {
	x := &Index{Blob: v1.Hash{Algorithm: "sha512", Hex: "00"}, Table: new(TableBuilder).Table(), spans: &spans{}}
	if _, err := x.WriteTo(io.Discard); err == nil {
		t.Error("another digest is kept as if it were one")
	}
}

// FuzzParseIndex fixes the sums of what it tries, so that it gets past them.
func FuzzParseIndex(f *testing.F) {
	plain := tiny(f)
	for _, e := range encodings[:12] {
		compressed := e.encode(f, plain)
		x, err := Pass(f.Context(), digestOf(compressed), bytes.NewReader(compressed), io.Discard, PassOptions{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored(f, x))
	}
	blob := &countedReader{b: gzipped(6, nil)(f, plain)}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x *Index
		var err error
		allocates(t, b, 1<<20, 64, func() { x, err = parseIndex(resummed(b)) })
		if err != nil {
			return
		}
		r := x.Plain(blob)
		count := 0
		for off := int64(0); off < r.Size() && count < 10; _, off = r.Span(off) {
			if begin, end := r.Span(off); begin != off || end <= off {
				t.Fatalf("the span at %d is from %d to %d", off, begin, end)
			}
			_, _ = r.ReadAt(t.Context(), make([]byte, 10), off)
			count++
		}
		for _, e := range x.Table.All() {
			_ = e.Stored()
		}
		if y, err := parseIndex(stored(t, x)); err != nil || y.Size() != x.Size() {
			t.Fatalf("stored again: %v", err)
		}
	})
}

// resummed is an index with the sums that its parts have.
func resummed(b []byte) []byte {
	b = bytes.Clone(b)
	var h storedHeader
	if len(b) < len(storedMagic)+headerSize {
		return b
	}
	n, err := binary.Decode(b[len(storedMagic):], binary.LittleEndian, &h)
	if err != nil {
		return b
	}
	rest := b[len(storedMagic)+n:]
	table := min(max(h.Lengths.Table, 0), int64(len(rest)))
	spans := min(max(h.Lengths.Spans, 0), int64(len(rest))-table)
	h.Sums.Table = crc32.Checksum(rest[:table], castagnoli)
	h.Sums.Spans = crc32.Checksum(rest[table:table+spans], castagnoli)
	return append(h.encode(), rest...)
}
