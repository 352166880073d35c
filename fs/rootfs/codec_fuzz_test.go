package rootfs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
)

// fuzzLimit is how much of a bomb is inflated.
const fuzzLimit = 1 << 20

// fuzzMemory is what that may take, in bytes: what was inflated, several times as it
// grows, and what a decoder has.
const fuzzMemory = 16 << 20

// fuzzDecode decodes whatever it is given: what is wrong is told by one of the errors that
// there are, and where decoding can begin it goes on as it did. It takes no more memory, in
// bytes, than it may.
func fuzzDecode(t *testing.T, b []byte, memory uint64) (plain []byte, err error) {
	var points []point
	allocates(t, b, memory, 64, func() {
		plain, points, err = decodeAll(bytes.NewReader(b), func(r io.Reader) io.Reader { return io.LimitReader(r, fuzzLimit) })
	})
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	for i, p := range points {
		if i > 0 && (p.plain < points[i-1].plain || p.compressed < points[i-1].compressed) || p.compressed < 0 || p.compressed > int64(len(b)) {
			t.Fatalf("point %d is %+v", i, p)
		}
		if i > 20 || p.plain >= int64(len(plain)) {
			continue
		}
		window, encoded := encodeWindow(p.window)
		if encoded != nil {
			t.Fatal(encoded)
		}
		x := &Index{spans: &spans{list: []span{{off: p.plain, from: p.compressed, start: p.start, bit: p.bit}}, windows: [][]byte{window}}}
		d, done, err := x.decode(bytes.NewReader(b[p.compressed:]), 0)
		if err != nil {
			t.Fatalf("point %d, %+v: %v", i, p, err)
		}
		got := make([]byte, min(int64(len(plain))-p.plain, 10_000))
		if n, err := io.ReadFull(d, got); !bytes.Equal(got[:n], plain[p.plain:p.plain+int64(n)]) || n == 0 {
			t.Fatalf("point %d, %+v: %d bytes, %v", i, p, n, err)
		}
		done()
	}
	return plain, err
}

func FuzzGzip(f *testing.F) {
	for _, e := range encodings {
		if e.name[0] == 'g' {
			f.Add(e.encode(f, content(8, 900)))
		}
	}
	f.Add(mixed(f, content(9, 40_000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if codec, err := Sniff(b); codec != Gzip || err != nil {
			return
		}
		plain, err := fuzzDecode(t, b, fuzzMemory)
		// The standard library takes flags that are reserved and no padding: where both
		// see no fault, they see the same.
		r, other := gzip.NewReader(bytes.NewReader(b))
		if other != nil || err != nil {
			return
		}
		if want, other := io.ReadAll(io.LimitReader(r, fuzzLimit)); other == nil && !bytes.Equal(plain, want) {
			t.Fatalf("%d bytes, the standard library has %d", len(plain), len(want))
		}
	})
}

// FuzzZstd has frames with windows of all sizes: those that were too small for the next are
// counted too.
func FuzzZstd(f *testing.F) {
	for _, encode := range []func(testing.TB, []byte) []byte{zstandard, skippable, members(200, zstandard)} {
		f.Add(encode(f, content(8, 900)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if codec, err := Sniff(b); codec != Zstd || err != nil {
			return
		}
		plain, err := fuzzDecode(t, b, fuzzMemory+3*maxZstdWindow)
		z, other := newZstdDecoder()
		if other != nil {
			t.Fatal(other)
		}
		defer zstdDecoders.Put(z)
		if other := z.Reset(bytes.NewReader(b)); other != nil || err != nil {
			return
		}
		if want, other := io.ReadAll(io.LimitReader(z, fuzzLimit)); other == nil && !bytes.Equal(plain, want) {
			t.Fatalf("%d bytes, the library has %d", len(plain), len(want))
		}
	})
}
