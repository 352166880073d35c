package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// A PlainReader reads the plain bytes of a layer that has an index, of what its
// blob has at the right place. What it returns was checked against the index. It
// is safe for concurrent use.
//
// A span is what is decoded and checked at once: about 4 MiB of a gzip layer, a
// chunk of a file where the layer has a table of contents, everything where it is
// one zstd frame. A reader of few bytes pays for the span that they are in; the last
// one that was decoded is kept in memory, so that one who reads it in pieces pays
// once. Who has a disk keeps whole spans there ([PlainReader.CopySpan]).
type PlainReader struct {
	index *Index
	blob  readat.Reader
	kept  atomic.Pointer[keptSpan]
}

// A keptSpan is the plain bytes of a span.
type keptSpan struct {
	i     int
	bytes []byte
}

// maxKept is the longest span that is kept in memory.
const maxKept = 32 << 20

var _ readat.Reader = (*PlainReader)(nil)

// Plain returns a reader of the plain bytes, out of the compressed ones in blob.
func (x *Index) Plain(blob readat.Reader) *PlainReader { return &PlainReader{index: x, blob: blob} }

// Size is that of the plain bytes.
func (r *PlainReader) Size() int64 { return r.index.spans.size }

// Span returns where the span that holds off begins and ends. off must lie within the
// plain bytes.
func (r *PlainReader) Span(off int64) (begin, end int64) {
	i := r.index.spans.find(off)
	return r.index.spans.list[i].off, r.index.spans.end(i)
}

// ReadAt reads plain bytes, with one ranged read of the blob for each span that they
// are in. The error is ErrMismatch where the blob has other bytes than it had when
// it was indexed, or the index is damaged; what the blob fails with is passed on.
func (r *PlainReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	s := r.index.spans
	read := 0
	for read < len(p) {
		at := off + int64(read)
		if at >= s.size {
			return read, io.EOF
		}
		n, err := r.readSpan(ctx, s.find(at), p[read:], at)
		read += n
		if err != nil {
			return read, err
		}
	}
	return read, nil
}

// readSpan reads what span i has of p.
func (r *PlainReader) readSpan(ctx context.Context, i int, p []byte, off int64) (int, error) {
	s := r.index.spans
	begin, end := s.list[i].off, s.end(i)
	p = p[:min(int64(len(p)), end-off)]
	if s.list[i].start == startZeros {
		clear(p)
		return len(p), nil
	}
	if kept := r.kept.Load(); kept != nil && kept.i == i {
		return copy(p, kept.bytes[off-begin:]), nil
	}
	if int64(len(p)) == end-begin || end-begin > maxKept {
		w := &section{p: p, off: begin - off}
		if err := r.index.copySpan(ctx, w, r.blob, i); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	kept := &keptSpan{i, make([]byte, end-begin)}
	if err := r.index.copySpan(ctx, &section{p: kept.bytes}, r.blob, i); err != nil {
		return 0, err
	}
	r.kept.Store(kept)
	return copy(p, kept.bytes[off-begin:]), nil
}

// maxGap is how many compressed bytes that belong to none of the spans may lie between two
// that are fetched in one: the headers of the files in an archive do.
const maxGap = 64 << 10

// Compressed is where in the blob the bytes begin and end that [PlainReader.CopySpan] reads
// for n plain bytes at off, as far as those follow each other, and before which plain byte that
// is over. It is nothing where these are made of none.
func (r *PlainReader) Compressed(off, n int64) (from, to, end int64) {
	x := r.index
	limit := min(off+n, x.spans.size)
	if off < 0 || off >= limit {
		return 0, 0, limit
	}
	end = off
	for i := x.spans.find(off); i < len(x.spans.list) && end < limit; i++ {
		s := x.spans.list[i]
		switch {
		case s.start == startZeros:
		case to == 0:
			from, to = s.from, min(s.to, s.from+x.likely(i))
		case s.from < from || s.from > to+maxGap:
			return from, to, end
		default:
			to = max(to, min(s.to, s.from+x.likely(i)))
		}
		end = x.spans.end(i)
	}
	return from, to, end
}

// CopySpan writes all of the span that holds off, from its beginning. It is checked when it
// was written: after an error, what was written is worth nothing. Errors are
// those of ReadAt and of w.
func (r *PlainReader) CopySpan(ctx context.Context, w io.Writer, off int64) error {
	return r.index.copySpan(ctx, w, r.blob, r.index.spans.find(off))
}

// A section is a Writer that keeps what falls into p.
type section struct {
	p   []byte
	off int64 // of the next byte written, in p
}

func (s *section) Write(b []byte) (int, error) {
	n := len(b)
	from := max(0, -s.off)
	if from < int64(len(b)) && s.off < int64(len(s.p)) {
		copy(s.p[s.off+from:], b[from:])
	}
	s.off += int64(n)
	return n, nil
}

// copySpan writes the plain bytes of a span, and checks them.
func (x *Index) copySpan(ctx context.Context, w io.Writer, blob readat.Reader, i int) error {
	s := x.spans.list[i]
	size := x.spans.end(i) - s.off
	in := &blobRange{ctx: ctx, blob: blob, off: s.from, end: s.to, piece: min(x.likely(i), rangeSize)}
	digest, err := x.spans.hash(i)
	if err != nil {
		return err
	}
	plain, done, err := x.decode(in, i)
	if err != nil {
		return err
	}
	defer done()
	_, err = io.CopyN(io.Discard, plain, int64(s.skip))
	if err == nil {
		_, err = io.CopyN(io.MultiWriter(digest, w), plain, size)
	}
	switch {
	case in.err != nil:
		return fmt.Errorf("read layer %s: %w", x.Blob, in.err)
	case errors.Is(err, ErrFormat), errors.Is(err, ErrTooLarge), err == io.EOF, err == io.ErrUnexpectedEOF: //nolint:errorlint // of the decoder itself
		return fmt.Errorf("layer %s, plain bytes %d to %d: %w: %w", x.Blob, s.off, s.off+size, ErrMismatch, err)
	case err != nil:
		return err
	case s.start != startZeros && sumOf(digest) != s.sum:
		return fmt.Errorf("layer %s, plain bytes %d to %d: %w", x.Blob, s.off, s.off+size, ErrMismatch)
	}
	return nil
}

// likely is more than the compressed bytes of a span take, or of the first [rangeSize] of its
// plain ones: no codec makes more of anything. Behind the bytes that are wanted there may be
// others that belong to nobody, of directories without files for instance.
func (x *Index) likely(i int) int64 {
	s := x.spans.list[i]
	n := int64(s.skip) + min(x.spans.end(i)-s.off, rangeSize)
	return n + n/16 + 1024
}

// decode returns the plain bytes from the compressed beginning of a span on, and what to
// call in the end.
func (x *Index) decode(in io.Reader, i int) (io.Reader, func(), error) {
	s := x.spans.list[i]
	done := func() {}
	switch s.start {
	case startZeros:
		return zeroReader{}, done, nil
	case startPlain:
		return in, done, nil
	case startMember:
		return &gunzip{in: newInput(in, s.from)}, done, nil
	case startBlock:
		window, err := decodeWindow(x.spans.windows.of(i))
		if err != nil {
			return nil, nil, err
		}
		return resumeGunzip(newInput(in, s.from), point{plain: s.off, compressed: s.from, bit: s.bit, window: window}), done, nil
	case startFrame:
		z, err := newUnzstd(newInput(in, s.from), nil)
		if err != nil {
			return nil, nil, err
		}
		return z, z.close, nil
	}
	return nil, nil, fmt.Errorf("%w: a span of a kind that is not known", ErrDamaged)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// rangeSize is how many compressed bytes are read at once: all of an ordinary span,
// in one request.
const rangeSize = 8 << 20

// A blobRange reads a range of a blob in order. It keeps its error, since decoders
// make others of it.
type blobRange struct {
	ctx      context.Context // it lives for one call
	blob     readat.Reader
	off, end int64
	piece    int64 // bytes to read at once
	buf      []byte
	have     []byte // of buf, what was not read yet
	err      error
}

func (b *blobRange) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(b.have) == 0 {
		if b.off >= b.end {
			return 0, io.EOF
		}
		if b.buf == nil {
			b.buf = make([]byte, min(b.end-b.off, b.piece))
		}
		n, err := b.blob.ReadAt(b.ctx, b.buf[:min(int64(len(b.buf)), b.end-b.off)], b.off)
		b.off += int64(n)
		b.have = b.buf[:n]
		if n == 0 {
			b.err = noEOF(err)
			return 0, b.err
		}
	}
	n := copy(p, b.have)
	b.have = b.have[n:]
	return n, nil
}
