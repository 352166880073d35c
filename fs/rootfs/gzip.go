package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// A gunzip decodes a layer that is one or more gzip members (RFC 1952). Headers
// and trailers are parsed here and not by a library, because it has to be known
// where each member begins, and where each block in it.
type gunzip struct {
	in   *input
	mark func(point) // nil where nobody wants to know

	member io.ReadCloser // the one being read; nil between two
	middle bool          // it was entered in its middle: its sum is not known
	crc    uint32        // of what was read of it
	size   uint32        // of what was read of it, modulo 2^32
	plain  int64         // bytes read in all
	toc    bool
	err    error
}

func (g *gunzip) hasTOC() bool { return g.toc }

func (g *gunzip) close() {}

// resumeGunzip decodes from a point in the middle of a member; in is at the
// byte of it.
func resumeGunzip(in *input, p point) *gunzip {
	at := flate.InflateCheckpoint{UncompressedOffset: p.plain, CompressedOffset: p.compressed, BitOffset: p.bit, Window: p.window}
	return &gunzip{in: in, plain: p.plain, middle: true, member: flate.NewReaderOpts(in.Reader, flate.WithResumeFrom(at))}
}

func (g *gunzip) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.err == nil {
		if g.member == nil {
			g.err = g.next()
			continue
		}
		n, err := g.member.Read(p)
		g.crc = crc32.Update(g.crc, crc32.IEEETable, p[:n])
		g.size += uint32(n)
		g.plain += int64(n)
		if err == io.EOF { //nolint:errorlint // the end of the member, not of its source
			g.err = g.finish()
		} else if err != nil {
			g.err = g.explain(err)
		}
		if n > 0 {
			return n, nil // what is wrong is told by the next read
		}
	}
	return 0, g.err
}

// next begins a member. At the end of the layer it returns io.EOF.
func (g *gunzip) next() error {
	at := g.in.offset()
	if err := g.header(); err != nil {
		return err
	}
	g.crc, g.size, g.middle = 0, 0, false
	if g.mark == nil {
		g.member = flate.NewReader(g.in.Reader)
		return nil
	}
	g.mark(point{plain: g.plain, compressed: at, start: startMember})
	g.member = flate.NewReaderOpts(g.in.Reader, flate.WithEobCallback(g.blocks()))
	return nil
}

// blocks returns what is called after each block of a member, of which nothing
// was read yet.
//
// The library counts some bytes of stored blocks twice (github.com/klauspost/compress up to v1.20.3
// at least): behind the first one its offsets in the compressed bytes are too
// large. By how much can be seen wherever a block ends with a byte, as stored
// ones do: there, nothing that was read from the input is left over but whole
// bytes, so the offset can be no larger than the input's. The largest difference
// seen so far is what all later offsets have too much; it is zero where nothing
// is wrong.
func (g *gunzip) blocks() func(flate.InflateCheckpoint) {
	plain, compressed, excess := g.plain, g.in.offset(), int64(0)
	return func(at flate.InflateCheckpoint) {
		off := compressed + at.CompressedOffset
		if at.BitOffset == 0 {
			excess = max(excess, off-g.in.offset())
		}
		if at.Final {
			return // what follows is a trailer
		}
		g.mark(point{plain: plain + at.UncompressedOffset, compressed: off - excess, start: startBlock, bit: at.BitOffset, window: at.Window})
	}
}

// finish checks the trailer of the member.
func (g *gunzip) finish() error {
	g.member = nil
	var trailer [8]byte
	if _, err := io.ReadFull(g.in, trailer[:]); err != nil {
		return noEOF(err)
	}
	if g.middle {
		return nil
	}
	if binary.LittleEndian.Uint32(trailer[:]) != g.crc {
		return fmt.Errorf("%w: the checksum of a gzip member is wrong", ErrFormat)
	}
	if binary.LittleEndian.Uint32(trailer[4:]) != g.size {
		return fmt.Errorf("%w: the size of a gzip member is wrong", ErrFormat)
	}
	return nil
}

// The flags of a member's header.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0
)

// header reads the header of the next member. Nothing in it is of use but the
// extra field of eStargz. After the last member zeros are allowed up to the end,
// with which tape drives and gzip(1) fill blocks.
func (g *gunzip) header() error {
	head, err := g.in.Peek(10)
	switch {
	case len(head) == 0 && err == io.EOF && g.in.offset() > 0: //nolint:errorlint // the end of the layer
		return io.EOF
	case len(head) > 0 && head[0] == 0 && g.in.offset() > 0:
		return g.zeros()
	case len(head) >= 2 && string(head[:2]) != gzipMagic:
		return fmt.Errorf("%w: no gzip header at %d", ErrFormat, g.in.offset())
	case err != nil:
		return noEOF(err)
	}
	flags := head[3]
	if head[2] != 8 || flags&flagReserved != 0 {
		return fmt.Errorf("%w: gzip method %d with flags %#x at %d is not known", ErrFormat, head[2], flags, g.in.offset())
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write(head)
	_, _ = g.in.Discard(len(head))
	from := io.TeeReader(g.in, sum)
	if flags&flagExtra != 0 {
		if err := g.extra(from); err != nil {
			return noEOF(err)
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		if err := skipString(from); err != nil {
			return noEOF(err)
		}
	}
	if flags&flagHeaderCRC != 0 {
		var crc [2]byte
		if _, err := io.ReadFull(g.in, crc[:]); err != nil {
			return noEOF(err)
		}
		if binary.LittleEndian.Uint16(crc[:]) != uint16(sum.Sum32()) {
			return fmt.Errorf("%w: the checksum of a gzip header is wrong", ErrFormat)
		}
	}
	return nil
}

// zeros reads up to the end of the layer.
func (g *gunzip) zeros() error {
	for {
		b, err := g.in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return fmt.Errorf("%w: there is something other than gzip members at %d", ErrFormat, g.in.offset()-1)
		}
	}
}

// extra reads the extra field: two bytes with the length of the rest.
func (g *gunzip) extra(from io.Reader) error {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return err
	}
	field := make([]byte, binary.LittleEndian.Uint16(length[:]))
	if _, err := io.ReadFull(from, field); err != nil {
		return err
	}
	if _, ok := stargzTOC(field); ok {
		g.toc = true
	}
	return nil
}

// skipString reads a string that ends with a zero.
func skipString(from io.Reader) error {
	var b [1]byte
	for {
		if _, err := io.ReadFull(from, b[:]); err != nil || b[0] == 0 {
			return err
		}
	}
}

// explain makes ErrFormat of what the inflater has to say about its input, and
// leaves errors of the source as they are.
func (g *gunzip) explain(err error) error {
	var corrupt flate.CorruptInputError
	var internal flate.InternalError
	if errors.As(err, &corrupt) || errors.As(err, &internal) {
		return fmt.Errorf("%w: no deflate near %d", ErrFormat, g.in.offset())
	}
	return noEOF(err)
}
