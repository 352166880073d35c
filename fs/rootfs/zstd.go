package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the most memory that a frame may want: what zstd(1) decodes
// unless it is told to take more. It is what --long writes.
const maxZstdWindow = 128 << 20

// zstdDecoders are those that nobody uses. They hold the memory of the largest window
// that they had, which is 8 MiB where a frame does not say how long it is, and takes
// longer to get than a small frame takes to decode. They start no goroutines, so they can
// be forgotten.
var zstdDecoders sync.Pool

func newZstdDecoder() (*zstd.Decoder, error) {
	if z, ok := zstdDecoders.Get().(*zstd.Decoder); ok {
		return z, nil
	}
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
}

// An unzstd decodes a layer that is one or more zstd frames (RFC 8878). The
// library is given one frame at a time, since decoding can begin at each and it
// does not say where they are.
type unzstd struct {
	in   *input
	mark func(point) // nil where nobody wants to know

	frames *zstd.Decoder
	frame  *zstdFrame // the one being read; nil between two
	plain  int64      // bytes read in all
	toc    bool
	err    error
}

func newUnzstd(in *input, mark func(point)) (*unzstd, error) {
	frames, err := newZstdDecoder()
	if err != nil {
		return nil, err
	}
	return &unzstd{in: in, mark: mark, frames: frames}, nil
}

// close gives the decoder back. Nothing may be read after it.
func (z *unzstd) close() {
	if z.frames.Reset(nil) == nil {
		zstdDecoders.Put(z.frames)
	}
	z.frames = nil
}

func (z *unzstd) hasTOC() bool { return z.toc }

func (z *unzstd) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.err == nil {
		if z.frame == nil {
			z.err = z.next()
			continue
		}
		n, err := z.frames.Read(p)
		z.plain += int64(n)
		switch {
		case err == io.EOF && z.frame.ended(): //nolint:errorlint // the end of the frame, not of its source
			z.frame = nil
		case err != nil:
			z.err = z.explain(err)
		}
		if n > 0 {
			return n, nil // what is wrong is told by the next read
		}
	}
	return 0, z.err
}

// next begins a frame that has content. At the end of the layer it returns
// io.EOF.
func (z *unzstd) next() error {
	for {
		head, err := z.in.Peek(4)
		switch {
		case len(head) == 0 && err != nil:
			return err
		case err != nil:
			return noEOF(err)
		case isSkippable(head):
			if err := z.skip(); err != nil {
				return err
			}
			continue
		case string(head) != zstdMagic:
			return fmt.Errorf("%w: no zstd frame at %d", ErrFormat, z.in.offset())
		}
		if z.mark != nil {
			z.mark(point{plain: z.plain, compressed: z.in.offset(), start: startFrame})
		}
		z.frame = &zstdFrame{in: z.in}
		return z.explain(z.frames.Reset(z.frame))
	}
}

// isSkippable says whether a frame has no content but something for those who
// know what.
func isSkippable(head []byte) bool {
	return len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50
}

// skip passes over a skippable frame, and notices the footer of zstd:chunked.
func (z *unzstd) skip() error {
	head, err := z.in.Peek(8)
	if err != nil {
		return noEOF(err)
	}
	size := int64(binary.LittleEndian.Uint32(head[4:]))
	_, _ = z.in.Discard(len(head))
	if size <= 64 {
		if body, err := z.in.Peek(int(size)); err == nil && isChunkedFooter(body) {
			z.toc = true
		}
	}
	n, err := io.CopyN(io.Discard, z.in, size)
	if n < size {
		return noEOF(err)
	}
	return nil
}

// explain makes ErrFormat of what the decoder has to say about its input, and
// leaves errors of the source as they are.
func (z *unzstd) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case z.frame != nil && z.frame.err != nil:
		return z.frame.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: a zstd frame ends before its content, near %d", ErrFormat, z.in.offset())
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: a zstd frame needs more than %d MiB of memory", ErrTooLarge, maxZstdWindow>>20)
	}
	return fmt.Errorf("%w: %w near %d", ErrFormat, err, z.in.offset())
}

// A zstdFrame reads the bytes of one frame, and ends where it does. It looks at
// no more than the lengths of its parts (RFC 8878, section 3.1.1).
type zstdFrame struct {
	in       *input
	left     int64 // bytes of the part being read
	started  bool  // the header was read or is being read
	last     bool  // so was the last block
	checksum bool  // one follows the last block
	err      error
}

// ended says whether the whole frame was read.
func (f *zstdFrame) ended() bool {
	return f.err == nil && f.left == 0 && f.last && !f.checksum
}

func (f *zstdFrame) Read(p []byte) (int, error) {
	for f.err == nil && f.left == 0 {
		if f.ended() {
			return 0, io.EOF
		}
		f.err = noEOF(f.part())
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.in.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	f.err = noEOF(err)
	return n, f.err
}

// part finds out how long the next part of the frame is.
func (f *zstdFrame) part() error {
	switch {
	case !f.started:
		head, err := f.in.Peek(5)
		if err != nil {
			return err
		}
		descriptor := head[4]
		f.started = true
		f.checksum = descriptor&(1<<2) != 0
		f.left = 5 + []int64{0, 1, 2, 4}[descriptor&3] // the dictionary's number
		single := descriptor&(1<<5) != 0
		f.left += []int64{0, 2, 4, 8}[descriptor>>6] // the content's size
		if single && descriptor>>6 == 0 || !single {
			f.left++ // one of a byte, or the size of the window
		}
	case f.last:
		f.checksum = false
		f.left = 4
	default:
		head, err := f.in.Peek(3)
		if err != nil {
			return err
		}
		block := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
		f.last = block&1 != 0
		f.left = 3 + block>>3
		switch block >> 1 & 3 {
		case 1: // one byte, so many times
			f.left = 4
		case 3:
			return fmt.Errorf("%w: a zstd block of a reserved type at %d", ErrFormat, f.in.offset())
		}
	}
	return nil
}
