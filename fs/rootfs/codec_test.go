package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func TestSniff(t *testing.T) {
	for head, want := range map[string]Codec{
		"":                         Plain,
		"\x1f":                     Plain,
		"\x1f\x8b\x08":             Gzip,
		"\x28\xb5\x2f\xfd\x00":     Zstd,
		"\x50\x2a\x4d\x18\x00\x00": Zstd,
		"\x5f\x2a\x4d\x18\x00\x00": Zstd,
		"\x60\x2a\x4d\x18\x00\x00": Plain,
		"etc/":                     Plain,
		"\x00\x00\x00\x00\x00\x00": Plain,
	} {
		got, err := Sniff([]byte(head))
		if got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", head, got, err, want)
		}
	}
	for _, head := range []string{"BZh91A", "\xfd7zXZ\x00"} {
		if _, err := Sniff([]byte(head)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", head, err)
		}
	}
}

// decodeAll decodes with a decoder alone, and returns its points.
func decodeAll(compressed io.Reader, wrap func(io.Reader) io.Reader) (plain []byte, points []point, err error) {
	in := newInput(compressed, 0)
	head, _ := in.Peek(sniffed)
	codec, err := Sniff(head)
	if err != nil {
		return nil, nil, err
	}
	d, err := newDecoder(codec, in, func(p point) {
		p.window = slices.Clone(p.window)
		points = append(points, p)
	})
	if err != nil {
		return nil, nil, err
	}
	defer d.close()
	plain, err = io.ReadAll(wrap(d))
	return plain, points, err
}

func whole(r io.Reader) io.Reader { return r }

func TestDecoders(t *testing.T) {
	plain := content(1, 5_000_000)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": whole, "data with its error": iotest.DataErrReader, "half": iotest.HalfReader,
			} {
				got, _, err := decodeAll(wrap(bytes.NewReader(compressed)), wrap)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
}

// TestByteByByte reads and is read a byte at a time.
func TestByteByByte(t *testing.T) {
	plain := content(2, 300_000)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			got, _, err := decodeAll(iotest.OneByteReader(bytes.NewReader(e.encode(t, plain))), iotest.OneByteReader)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestEveryPointResumes begins at each place that a decoder names, not only at
// those that become spans, with nothing before it and little after it. In
// klauspost/compress up to v1.20.3 the offsets of blocks are wrong after the first
// stored one.
func TestEveryPointResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	plain := content(3, 6_000_000)
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			_, points, err := decodeAll(bytes.NewReader(compressed), whole)
			if err != nil {
				t.Fatal(err)
			}
			if points[0].plain != 0 {
				t.Errorf("the first point is %+v", points[0])
			}
			x := &Index{}
			for i, p := range points {
				end := span{off: int64(len(plain)), from: int64(len(compressed))}
				if i+1 < len(points) {
					end.off, end.from = points[i+1].plain, points[i+1].compressed
				}
				window, err := encodeWindow(p.window)
				if err != nil {
					t.Fatal(err)
				}
				s := span{off: p.plain, from: p.compressed, start: p.start, bit: p.bit}
				x.spans = &spans{list: []span{s, end}, size: int64(len(plain)), windows: [][]byte{window}}
				part := compressed[s.from:min(end.from+blockSlack, int64(len(compressed)))]
				d, done, err := x.decode(bytes.NewReader(part), 0)
				if err != nil {
					t.Fatalf("point %d of %d, %+v: %v", i, len(points), s, err)
				}
				got := make([]byte, end.off-s.off)
				if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, plain[s.off:end.off]) {
					t.Fatalf("point %d of %d, %+v: %v, the bytes are right: %t", i, len(points), s, err, bytes.Equal(got, plain[s.off:end.off]))
				}
				done()
			}
		})
	}
}

// TestStoredBlocksAreCountedOnce fails without the correction in blocks, with the
// library as it is: then there is something to correct.
func TestStoredBlocksAreCountedOnce(t *testing.T) {
	plain := content(4, 3_000_000)
	for name, encode := range map[string]func(testing.TB, []byte) []byte{"mixed": mixed, "flushed": flushed(100_000)} {
		compressed := encode(t, plain)
		_, points, err := decodeAll(bytes.NewReader(compressed), whole)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]bool{}
		for _, p := range points {
			if p.start == startBlock && p.bit == 0 && bytes.Equal(compressed[p.compressed-4:p.compressed], []byte{0, 0, 0xff, 0xff}) {
				seen[p.compressed] = true // right behind an empty stored block
			}
		}
		if want := bytes.Count(compressed, []byte{0, 0, 0xff, 0xff}); len(seen) < want*9/10 || want < 10 {
			t.Errorf("%s: %d points are behind one of %d empty stored blocks", name, len(seen), want)
		}
	}
}

// TestDamageIsNoticed flips each byte of small layers: where the plain bytes change,
// the decoders alone notice it. A pass checks the digest, too.
func TestDamageIsNoticed(t *testing.T) {
	plain := content(5, 3000)
	for _, e := range encodings {
		switch e.name {
		case "plain", "zstd(1) without a checksum":
			continue // these have no sums
		case "GNU gzip", "pigz", "zstd(1)", "zstd(1) long", "pzstd", "gzip small members", "zstd small frames":
			continue // at this size, the same as others
		}
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			for i := range compressed {
				damaged := bytes.Clone(compressed)
				damaged[i] ^= 0x10
				if got, _, err := decodeAll(bytes.NewReader(damaged), whole); err == nil && !bytes.Equal(got, plain) {
					if i > 4 { // without its magic number it is something else
						t.Errorf("byte %d was changed, and the plain bytes with it", i)
					}
				}
			}
		})
	}
}

// TestCutShort ends layers everywhere: that is never the end, but between two
// members or frames, where the digest of the layer alone has the answer.
func TestCutShort(t *testing.T) {
	plain := content(6, 2000)
	for _, e := range encodings {
		if e.name == "plain" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			between := map[int]bool{} // by how many plain bytes there are then
			_, points, err := decodeAll(bytes.NewReader(compressed), whole)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range points {
				between[int(p.plain)] = p.start == startMember || p.start == startFrame
			}
			for n := 6; n < len(compressed); n++ {
				got, _, err := decodeAll(bytes.NewReader(compressed[:n]), whole)
				if err == nil && !bytes.Equal(got, plain) && !between[len(got)] {
					t.Fatalf("%d of %d bytes give %d plain ones and no error", n, len(compressed), len(got))
				}
				if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrFormat) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

// TestSourceErrorIsKept: what a registry fails with is not taken for a layer that is
// malformed.
func TestSourceErrorIsKept(t *testing.T) {
	plain := content(7, 200_000)
	lost := errors.New("connection lost")
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			compressed := e.encode(t, plain)
			for _, n := range []int{0, 1, 4, 7, 11, 100, len(compressed) / 2, len(compressed) - 5} {
				_, _, err := decodeAll(io.MultiReader(bytes.NewReader(compressed[:n]), iotest.ErrReader(lost)), whole)
				if !errors.Is(err, lost) || errors.Is(err, ErrFormat) {
					t.Errorf("after %d bytes: %v", n, err)
				}
			}
			wrapped := fmt.Errorf("registry.example.com: %w", io.EOF)
			_, _, err := decodeAll(io.MultiReader(bytes.NewReader(compressed[:len(compressed)-5]), iotest.ErrReader(wrapped)), whole)
			if err == nil {
				t.Error("a connection that ends is taken for the end of the layer")
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	good := gzipped(6, nil)(t, []byte("hello"))
	for name, b := range map[string][]byte{
		"method":                  append([]byte{0x1f, 0x8b, 7}, good[3:]...),
		"reserved flag":           append([]byte{0x1f, 0x8b, 8, 0x20}, good[4:]...),
		"something after gzip":    append(bytes.Clone(good), "hello"...),
		"something after padding": append(append(bytes.Clone(good), 0, 0, 0), 1),
		"something after zstd":    append(zstandard(t, []byte("hello")), "hello"...),
		"zeros after zstd":        append(zstandard(t, []byte("hello")), 0, 0, 0, 0),
		"reserved block of zstd":  []byte("\x28\xb5\x2f\xfd\x00\x00\x07\x00\x00"),
		"dictionary of zstd":      []byte("\x28\xb5\x2f\xfd\x01\x00\x07\x01\x00\x00"),
	} {
		if _, _, err := decodeAll(bytes.NewReader(b), whole); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	window := []byte("\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00") // of 3.75 TiB
	if _, _, err := decodeAll(bytes.NewReader(window), whole); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge window: %v", err)
	}
}
