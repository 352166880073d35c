// Package readat composes byte sequences that are read by offset.
//
// A Reader is io.ReaderAt with a context: a read(2) can be interrupted, and the
// context is how the interruption travels down. Readers are put together from
// parts ([Bytes], [Zeros], [Concat]) without copying; image.tar is
// nothing else.
package readat

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A Reader is a byte sequence of a fixed length that is read by offset.
//
// ReadAt follows the rules of [io.ReaderAt]: it fills p or says why not; at the
// end of the sequence it returns what is left and [io.EOF] (a read that ends
// exactly at the end may return a nil error). A negative offset is an error. It
// may be called from several goroutines at once. When ctx ends before the bytes
// are there, ReadAt returns the context's cause; it keeps no reference to ctx
// or p afterwards.
type Reader interface {
	// Size is the length in bytes. It never changes.
	Size() int64
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// A Prefetcher can be told what will be read soon.
//
// Prefetch starts to fetch the first run of bytes that is missing of the n at
// off, as long as one request brings, and returns at once: where that run ends,
// and that something was started. Then ready is called once, from another
// goroutine, when it is time to start what comes next: the run has come, or has
// failed, or will have come sooner than a new request would be answered. Where
// nothing is missing, or nothing can be done about it, end is off+n and ready is
// not called. No error is reported: the read that follows will.
//
// It may be called from several goroutines at once. Ranges outside the sequence
// are clamped.
type Prefetcher interface {
	Prefetch(off, n int64, ready func()) (end int64, started bool)
}

// errNegative is the answer to an offset below zero.
var errNegative = errors.New("negative offset")

// clamp cuts p so that it ends with the sequence and says whether the read
// reaches the end. It is how every Reader of this package begins.
func clamp(p []byte, off, size int64) (q []byte, atEnd bool, err error) {
	if off < 0 {
		return nil, false, fmt.Errorf("read at %d: %w", off, errNegative)
	}
	if off >= size {
		return nil, true, nil
	}
	if left := size - off; int64(len(p)) > left {
		return p[:left], true, nil
	}
	return p, false, nil
}

// eof is io.EOF for a read that was cut at the end, nil otherwise.
func eof(atEnd bool) error {
	if atEnd {
		return io.EOF
	}
	return nil
}

// Bytes returns a Reader of b, which must not change afterwards.
func Bytes(b []byte) Reader { return bytesReader(b) }

type bytesReader []byte

func (b bytesReader) Size() int64 { return int64(len(b)) }

func (b bytesReader) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	p, atEnd, err := clamp(p, off, b.Size())
	if err != nil || len(p) == 0 {
		return 0, cmpEOF(err, atEnd)
	}
	return copy(p, b[off:]), eof(atEnd)
}

// Zeros returns a Reader of n zero bytes.
func Zeros(n int64) Reader { return zeros(n) }

type zeros int64

func (z zeros) Size() int64 { return int64(z) }

func (z zeros) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	p, atEnd, err := clamp(p, off, z.Size())
	if err != nil {
		return 0, err
	}
	clear(p)
	return len(p), eof(atEnd)
}

// cmpEOF is err where there is one, else io.EOF at the end.
func cmpEOF(err error, atEnd bool) error {
	if err != nil {
		return err
	}
	return eof(atEnd)
}

// unexpected turns the end of a part that is too early into an error: a part
// that ends before its size is damaged, and the end of a part is not the end of
// the whole.
func unexpected(err error) error {
	// An error that wraps io.EOF is no end of the part, but says why its bytes do
	// not come: a registry has closed the connection.
	if err == nil || err == io.EOF { //nolint:errorlint // for that
		return io.ErrUnexpectedEOF
	}
	return err
}
