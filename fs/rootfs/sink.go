package rootfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

const (
	// pieceSize is how many plain bytes go from one side of a pass to the other at
	// once, pieces how many such pieces there are.
	pieceSize = 256 << 10
	pieces    = 4
)

// A piece is some plain bytes, and the spans that begin in it or a little after it.
type piece struct {
	bytes  []byte
	points []point
}

// A sink is where the plain bytes of a pass go, in a goroutine beside the one that
// decodes: they are hashed, divided, written and scanned there. Decoding takes as long as
// all of that, or longer.
type sink struct {
	in    chan piece  // closed when all has come
	free  chan []byte // buffers that are not in use
	ended chan struct{}
	end   sync.Once // closes in

	// Of the goroutine, until it has ended.
	plain   io.Writer
	divider *divider
	have    []byte // of a piece, what was not read yet
	buf     []byte // of the same, all of it
	table   *Table
	failed  error // what plain has failed with
	err     error
}

// startSink starts the goroutine, which ends when [sink.wait] is called, if not before.
func startSink(plain io.Writer, report func(*EntryError)) *sink {
	s := &sink{
		in:    make(chan piece, pieces),
		free:  make(chan []byte, pieces),
		ended: make(chan struct{}),

		plain:   plain,
		divider: newDivider(),
	}
	for range pieces {
		s.free <- nil // made when it is used: many layers are small
	}
	go func() {
		defer close(s.ended)
		defer func() {
			if p := recover(); p != nil {
				s.err = fmt.Errorf("panic: %v", p)
			}
		}()
		s.err = s.run(report)
	}()
	return s
}

// wait says that nothing more comes, and returns what was wrong. It may be called again.
func (s *sink) wait() error {
	s.end.Do(func() { close(s.in) })
	<-s.ended
	return s.err
}

// fill decodes a layer into the sink, and says whether the layer has a table of
// contents. It returns early, with no error, where the sink has failed.
func (s *sink) fill(codec Codec, in *input, limit int64) (hasTOC bool, err error) {
	var points []point
	last := int64(-1)
	from, err := newDecoder(codec, in, func(p point) {
		if last >= 0 && p.plain < last+spanAfter(last) {
			return
		}
		last = p.plain
		p.window = slices.Clone(p.window)
		points = append(points, p)
	})
	if err != nil {
		return false, err
	}
	defer from.close()
	for size := int64(0); err == nil; {
		var buf []byte
		select {
		case buf = <-s.free:
		case <-s.ended:
			return false, nil
		}
		if buf == nil {
			buf = make([]byte, pieceSize)
		}
		n := 0
		for n < len(buf) && err == nil {
			var more int
			more, err = from.Read(buf[n:])
			n += more
		}
		if size += int64(n); size > limit {
			return false, fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, limit)
		}
		s.in <- piece{buf[:n], points} // there is room for all pieces
		points = nil
	}
	if err != io.EOF { //nolint:errorlint // of the decoder itself
		return false, err
	}
	return from.hasTOC(), nil
}

// Read is what the scanner reads the plain bytes with. What it returns was hashed and
// written.
func (s *sink) Read(p []byte) (int, error) {
	for len(s.have) == 0 {
		if s.buf != nil {
			s.free <- s.buf[:pieceSize] // there is room for all of them
			s.buf = nil
		}
		next, ok := <-s.in
		if !ok {
			return 0, io.EOF
		}
		s.buf, s.have = next.bytes, next.bytes
		s.divider.add(next.points...)
		if _, s.failed = s.divider.Write(next.bytes); s.failed != nil {
			return 0, s.failed
		}
		if _, s.failed = s.plain.Write(next.bytes); s.failed != nil {
			return 0, s.failed
		}
	}
	n := copy(p, s.have)
	s.have = s.have[n:]
	return n, nil
}

// run scans all that comes, and what follows the archive, too: the digests are
// over all of it.
func (s *sink) run(report func(*EntryError)) error {
	if report == nil {
		report = func(*EntryError) {}
	}
	table, err := Scan(s, report)
	if err == nil {
		s.table = table
		_, err = io.Copy(io.Discard, s)
	}
	switch {
	case s.failed != nil:
		return s.failed
	case err != nil && !errors.Is(err, ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}
