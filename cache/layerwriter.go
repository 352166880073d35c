package cache

import (
	"bytes"
	"fmt"
	"os"
)

// plainBuffer is how many plain bytes are written at once.
const plainBuffer = 4 * pieceSize

// A plainWriter writes plain bytes that come in order to their file, and makes the
// records of them, which are the caller's to keep once he knows that the bytes are
// right. Pieces that are nothing but zeros are holes. Its error is one of the disk, or
// that left is used up, and with the first it is over: what has a record is in the file.
type plainWriter struct {
	store *Store
	file  *os.File
	off   int64  // of the first byte of buf, which ends at a multiple of plainBuffer at most
	buf   []byte // what was not written yet
	// fresh is set where nothing was in the file before.
	fresh bool
	// has says that bytes are there already, and are to be left alone; nil is of none.
	has     func(from, to int64) bool
	records []byte
	left    int64 // bytes of disk that it may take yet
}

func (w *plainWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		room := plainBuffer - int((w.off+int64(len(w.buf)))%plainBuffer)
		if len(w.buf) == 0 && len(b) >= room {
			if err := w.put(b[:room]); err != nil {
				return 0, err
			}
			b = b[room:]
			continue
		}
		if w.buf == nil {
			w.buf = make([]byte, 0, plainBuffer)
		}
		some := b[:min(room, len(b))]
		w.buf = append(w.buf, some...)
		b = b[len(some):]
		if len(some) == room {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes what is left, in the end.
func (w *plainWriter) flush() error {
	b := w.buf
	w.buf = w.buf[:0]
	return w.put(b)
}

// put writes bytes that are at off. They are pieces, but for the first and the last.
func (w *plainWriter) put(b []byte) error {
	start, from := w.off, w.off // of what is to be written in one go
	records := w.records
	for off, end := w.off, w.off+int64(len(b)); off < end; {
		next := min(off/pieceSize*pieceSize+pieceSize, end)
		one := b[off-w.off : next-w.off]
		switch {
		case w.has != nil && w.has(off, next):
		case isZero(one) && (w.fresh || holdsZeros(w.file, off, len(one))):
			records = appendPiece(records, off, len(one), sum(one))
		default:
			records = appendPiece(records, off, len(one), sum(one))
			off = next
			continue
		}
		if err := w.write(b[from-w.off:off-w.off], from); err != nil {
			return err
		}
		off, from = next, next
	}
	w.off += int64(len(b))
	if err := w.write(b[from-start:], from); err != nil {
		return err
	}
	w.records = records
	return nil
}

// write writes bytes at off, and makes room for them.
func (w *plainWriter) write(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	err := errOversize
	if w.left -= int64(len(b)); w.left >= 0 {
		err = w.store.admit(int64(len(b)))
	}
	if err == nil {
		err = w.store.withRoom(func() error {
			_, err := w.file.WriteAt(b, off)
			return err
		})
	}
	if err != nil {
		return w.store.onDisk(fmt.Errorf("write plain bytes: %w", err))
	}
	return nil
}

// zeroPiece is what a hole reads as.
var zeroPiece [pieceSize]byte

func isZero(b []byte) bool { return bytes.Equal(b, zeroPiece[:len(b)]) }

// holdsZeros says whether n bytes of a file are zeros, so that they need not be written.
func holdsZeros(f *os.File, off int64, n int) bool {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	b := (*buffer)[:n]
	read, err := f.ReadAt(b, off)
	return read == n && err == nil && isZero(b)
}
