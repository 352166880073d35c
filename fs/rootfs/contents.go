package rootfs

import (
	"context"
	"fmt"
	"io"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// Contents are the bytes of a regular file, holes and all, with plain the plain bytes of
// the layer that the entry is from. It may be nil where Stored is 0.
func (e *Entry) Contents(plain readat.Reader) readat.Reader {
	if e.Extents == nil {
		if e.Size == 0 {
			return readat.Bytes(nil)
		}
		return stretch{plain, e.Data, e.Size}
	}
	var parts []readat.Reader
	at, data := int64(0), e.Data
	for _, x := range e.Extents {
		parts = append(parts, readat.Zeros(x.Offset-at))
		if x.Length > 0 {
			parts = append(parts, stretch{plain, data, x.Length})
		}
		at, data = x.Offset+x.Length, data+x.Length
	}
	return readat.Concat(append(parts, readat.Zeros(e.Size-at))...)
}

// A stretch is so many bytes of another Reader, from an offset on.
type stretch struct {
	from      readat.Reader
	off, size int64
}

var _ readat.Reader = stretch{}

func (s stretch) Size() int64 { return s.size }

func (s stretch) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, fmt.Errorf("read at %d: negative offset", off)
	case off >= s.size:
		return 0, io.EOF
	}
	if left := s.size - off; int64(len(p)) > left {
		n, err := s.from.ReadAt(ctx, p[:left], s.off+off)
		if err == nil || int64(n) == left {
			err = io.EOF
		}
		return n, err
	}
	n, err := s.from.ReadAt(ctx, p, s.off+off)
	if n == len(p) {
		err = nil // the end of the other is not ours
	}
	return n, err
}
