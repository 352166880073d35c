package rootfs

import (
	"bytes"
	stdflate "compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// content returns n bytes that deflate stores, codes with fixed and with dynamic
// tables in turn: noise, text, runs.
func content(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 300)
	for i := range words {
		words[i] = noise(random, 2+random.IntN(9))
	}
	b := make([]byte, 0, n+1<<17)
	for len(b) < n {
		switch random.IntN(4) {
		case 0:
			b = append(b, noise(random, random.IntN(100<<10))...)
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(50<<10))...)
		default:
			for range random.IntN(20_000) {
				b = append(b, words[random.IntN(random.IntN(len(words))+1)]...)
			}
		}
	}
	return b[:n]
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// A compression is a way to compress a layer.
type compression struct {
	name   string
	encode func(t testing.TB, plain []byte) []byte
}

func gzipped(level int, change func(*gzip.Writer)) func(testing.TB, []byte) []byte {
	return func(t testing.TB, plain []byte) []byte {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(w)
		}
		write(t, w, plain)
		return b.Bytes()
	}
}

func write(t testing.TB, w io.WriteCloser, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// members compresses pieces of plain bytes one by one.
func members(size int, encode func(testing.TB, []byte) []byte) func(testing.TB, []byte) []byte {
	return func(t testing.TB, plain []byte) []byte {
		var b []byte
		for len(plain) > 0 {
			n := min(size, len(plain))
			b = append(b, encode(t, plain[:n])...)
			plain = plain[n:]
		}
		return b
	}
}

// flushed writes pieces with an empty stored block after each, as pigz does.
func flushed(size int) func(testing.TB, []byte) []byte {
	return func(t testing.TB, plain []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		for len(plain) > 0 {
			n := min(size, len(plain))
			if _, err := w.Write(plain[:n]); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			plain = plain[n:]
		}
		write(t, w, nil)
		return b.Bytes()
	}
}

// fullHeader writes a member with everything that a header may have.
func fullHeader(t testing.TB, plain []byte) []byte {
	b := []byte{0x1f, 0x8b, 8, 1<<0 | flagHeaderCRC | flagExtra | flagName | flagComment, 1, 2, 3, 4, 2, 3}
	b = append(b, 7, 0, 'A', 'p', 3, 0, 'x', 0, 'z')
	b = append(b, "layer.tar\x00"...)
	b = append(b, "a comment\x00"...)
	sum := crc32.ChecksumIEEE(b)
	b = append(b, byte(sum), byte(sum>>8))
	body := bytes.NewBuffer(b)
	w, err := stdflate.NewWriter(body, 6)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, plain)
	sum, size := crc32.ChecksumIEEE(plain), len(plain)
	return append(body.Bytes(), byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24), byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
}

// mixed begins a new kind of block in one member every so often: stored, fixed
// and dynamic ones, and the empty stored ones of a flush between them.
func mixed(t testing.TB, plain []byte) []byte {
	random := rand.New(rand.NewPCG(9, 9))
	var b bytes.Buffer
	b.WriteString("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	for rest := plain; ; {
		n := min(len(rest), random.IntN(200_000))
		if random.IntN(4) == 0 {
			n = min(n, 20) // short ones get fixed tables
		}
		w, err := stdflate.NewWriter(&b, []int{0, 1, 6, -2}[random.IntN(4)])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		if len(rest) == 0 {
			write(t, w, nil)
			break
		}
		if err := w.Flush(); err != nil { // each begins with no history, so they can be strung together
			t.Fatal(err)
		}
	}
	sum, size := crc32.ChecksumIEEE(plain), len(plain)
	b.Write([]byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24), byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)})
	return b.Bytes()
}

func zstandard(t testing.TB, plain []byte) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, plain)
	return b.Bytes()
}

// skippable are frames without content.
func skippable(t testing.TB, plain []byte) []byte {
	half := len(plain) / 2
	b := []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc")
	b = append(b, zstandard(t, plain[:half])...)
	b = append(b, "\x5f\x2a\x4d\x18\x00\x00\x00\x00"...)
	b = append(b, zstandard(t, plain[half:])...)
	return append(b, "\x51\x2a\x4d\x18\x02\x00\x00\x00ab"...)
}

// program compresses with a program of the system's.
func program(name string, args ...string) func(testing.TB, []byte) []byte {
	return func(t testing.TB, plain []byte) []byte {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		cmd := exec.Command(path, args...)
		cmd.Stdin = bytes.NewReader(plain)
		b, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// encodings are all that a layer is tried with.
var encodings = []compression{
	{"plain", func(_ testing.TB, plain []byte) []byte { return plain }},
	{"gzip", gzipped(6, nil)},
	{"gzip fastest", gzipped(1, nil)},
	{"gzip stored", gzipped(0, nil)},
	{"gzip Huffman only", gzipped(-2, nil)},
	{"gzip with a name", gzipped(6, func(w *gzip.Writer) { w.Name, w.Comment, w.Extra = "layer.tar", "comment", []byte("AB\x00\x00") })},
	{"gzip with a full header", fullHeader},
	{"gzip of mixed blocks", mixed},
	{"gzip flushed", flushed(128 << 10)},
	{"gzip members", members(3_000_000, gzipped(6, nil))},
	{"gzip small members", members(64<<10, gzipped(1, nil))},
	{"gzip members of mixed blocks", members(5_000_000, mixed)},
	{"gzip members with full headers", members(1_000_000, fullHeader)},
	{"gzip padded", func(t testing.TB, plain []byte) []byte {
		return append(gzipped(6, nil)(t, plain), make([]byte, 5000)...)
	}},
	{"gzip with an empty member", func(t testing.TB, plain []byte) []byte {
		return bytes.Join([][]byte{gzipped(6, nil)(t, nil), gzipped(6, nil)(t, plain), gzipped(6, nil)(t, nil)}, nil)
	}},
	{"GNU gzip", program("gzip", "-9", "-c")},
	{"pigz", program("pigz", "-c")},
	{"zstd", zstandard},
	{"zstd frames", members(3_000_000, zstandard)},
	{"zstd small frames", members(20_000, zstandard)},
	{"zstd with skippable frames", skippable},
	{"zstd(1)", program("zstd", "-3", "-T0", "-c")},
	{"zstd(1) long", program("zstd", "-3", "--long=27", "-c")},
	{"zstd(1) without a checksum", program("zstd", "-1", "--no-check", "-c")},
	{"pzstd", program("pzstd", "-3", "-p", "2", "-c")},
}

// large is a layer of several spans, and what it is compressed to, which takes longer
// than what is tested with it.
var large = struct {
	plain      []byte
	compressed map[string][]byte
}{compressed: map[string][]byte{}}

// largeLayer returns it. Tests that use it do not run at once.
func largeLayer(t testing.TB, e compression) (plain, compressed []byte) {
	t.Helper()
	if large.plain == nil {
		large.plain = archive(t, 7, 14_000_000)
	}
	if large.compressed[e.name] == nil {
		large.compressed[e.name] = e.encode(t, large.plain)
	}
	return large.plain, large.compressed[e.name]
}

// A countedReader is a blob in memory that counts reads.
type countedReader struct {
	b     []byte
	reads int
	bytes int64
}

func (c *countedReader) Size() int64 { return int64(len(c.b)) }

func (c *countedReader) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	c.reads++
	if off >= int64(len(c.b)) {
		return 0, io.EOF
	}
	n := copy(p, c.b[off:])
	c.bytes += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
