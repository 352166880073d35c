package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Codec is how the bytes of a layer are compressed.
type Codec uint8

// The codecs of the image specification.
const (
	Plain Codec = iota + 1
	Gzip
	Zstd
)

func (c Codec) String() string {
	switch c {
	case Plain:
		return "plain"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

var (
	// ErrFormat is a layer that is not what its first bytes say: not gzip (RFC 1952), zstd
	// (RFC 8878) or tar, or compressed with something else.
	ErrFormat = errors.New("layer is malformed")
	// ErrMismatch is a layer, a table of contents or a span whose digest is another
	// than it should be.
	ErrMismatch = errors.New("layer does not match its digest")
	// ErrTooLarge is a layer that passes a limit as a whole.
	ErrTooLarge = errors.New("layer is too large")
)

const (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"
)

// magics tell the codecs apart. Media types do not: they are wrong in enough
// images that containerd and docker look at the bytes, too.
var magics = []struct {
	magic string
	codec Codec
	name  string // of a codec that is none of ours
}{
	{gzipMagic, Gzip, ""},
	{zstdMagic, Zstd, ""},
	{"BZh", 0, "bzip2"},
	{"\xfd7zXZ\x00", 0, "xz"},
	{"\x89LZO", 0, "lzop"},
	{"\x04\x22\x4d\x18", 0, "lz4"},
}

// sniffed is how many bytes Sniff looks at.
const sniffed = 6

// Sniff says how a layer is compressed from its first bytes, of which it wants
// six where the layer has as many. What has no magic number is plain. The error
// is ErrFormat for a codec that layers do not have.
func Sniff(head []byte) (Codec, error) {
	for _, m := range magics {
		if !bytes.HasPrefix(head, []byte(m.magic)) {
			continue
		}
		if m.codec == 0 {
			return 0, fmt.Errorf("%w: it is compressed with %s; layers are plain, gzip or zstd", ErrFormat, m.name)
		}
		return m.codec, nil
	}
	if isSkippable(head) {
		return Zstd, nil
	}
	return Plain, nil
}

// A start is what is at the first compressed byte of a span.
type start uint8

const (
	startPlain  start = iota + 1 // the bytes themselves
	startMember                  // a gzip member, that is its header
	startBlock                   // a block of deflate, at a bit of the byte; it needs the window before it
	startFrame                   // a zstd frame
	startZeros                   // nothing: the bytes are zeros that are not stored
)

// A point is a place where decoding can begin.
type point struct {
	plain      int64 // offset in the plain bytes
	compressed int64 // offset in the layer
	start      start
	bit        uint8  // of a block: 0 to 7, from the lowest
	window     []byte // of a block: the plain bytes before it, 32 KiB of them where there are so many
}

// A decoder reads the plain bytes of a layer in order.
type decoder interface {
	io.Reader
	// hasTOC says whether what was read so far has the mark of a layer with a table
	// of contents, eStargz or zstd:chunked: it has members then that are no files of
	// the image.
	hasTOC() bool
	// close is called when no more is read.
	close()
}

// An input is the compressed bytes of a layer. It knows where it is, which
// a bufio.Reader alone does not.
type input struct {
	*bufio.Reader
	src *counted
}

// counted counts what was read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// inputSize is that of the buffer: the inflater peeks at it, and each time that
// it is empty costs a call.
const inputSize = 64 << 10

// newInput reads r, which begins at an offset of the layer.
func newInput(r io.Reader, off int64) *input { return newInputOf(r, off, inputSize) }

// newInputOf reads r with a buffer of size bytes: of tables of contents there are many at once,
// of a few kilobytes, and to have memory for each costs more than to read it.
func newInputOf(r io.Reader, off int64, size int) *input {
	src := &counted{r, off}
	return &input{bufio.NewReaderSize(src, size), src}
}

// offset is that of the next byte in the layer.
func (in *input) offset() int64 { return in.src.n - int64(in.Buffered()) }

// newDecoder decodes a layer from its beginning. mark is told, in their order,
// of the places where decoding can begin, before a plain byte after them is
// returned; the window of a point is valid in the call alone.
func newDecoder(codec Codec, in *input, mark func(point)) (decoder, error) {
	switch codec {
	case Gzip:
		return &gunzip{in: in, mark: mark}, nil
	case Zstd:
		return newUnzstd(in, mark)
	}
	return &copied{in: in, mark: mark}, nil
}

// copied is the decoder of what is not compressed.
type copied struct {
	in   *input
	mark func(point)
}

func (c *copied) hasTOC() bool { return false }

func (c *copied) close() {}

func (c *copied) Read(p []byte) (int, error) {
	at := c.in.offset()
	c.mark(point{plain: at, compressed: at, start: startPlain})
	return c.in.Read(p)
}

// noEOF makes an error of an end that comes too early.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // one that wraps it says why the bytes do not come
		return io.ErrUnexpectedEOF
	}
	return err
}
