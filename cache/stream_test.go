package cache

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestStream(t *testing.T) {
	for _, size := range sizes {
		from, d := newSource(size)
		from.serve = func(request int, body io.Reader) (io.Reader, error) {
			if request%2 == 1 {
				return io.MultiReader(io.LimitReader(body, 300<<10), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
			}
			return body, nil
		}
		var out bytes.Buffer
		if err := Stream(t.Context(), &out, d, int64(size), from); err != nil || !bytes.Equal(out.Bytes(), from.content) {
			t.Errorf("%d bytes: %v, %d came", size, err, out.Len())
		}
		if size == 0 {
			continue
		}
		from.content[size/2] ^= 1
		out.Reset()
		if err := Stream(t.Context(), &out, d, int64(size), from); !errors.Is(err, ErrMismatch) || out.Len() == size {
			t.Errorf("%d bytes, one flipped: %v, %d came", size, err, out.Len())
		}
	}
}

func TestStreamEnds(t *testing.T) {
	const size = 1 << 20
	reset := errors.New("connection reset")
	for name, c := range map[string]struct {
		rangeless bool
		piece     int64
		err, want error
		works     bool
	}{
		"resumed":            {false, 100 << 10, reset, nil, true},
		"drips":              {false, 10, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, false},
		"nothing":            {false, 0, reset, reset, false},
		"too short":          {false, 0, io.EOF, ErrMismatch, false},
		"begun again always": {true, 100 << 10, reset, reset, false},
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			from.rangeless = c.rangeless
			from.serve = func(request int, body io.Reader) (io.Reader, error) {
				n := c.piece
				if c.rangeless {
					n *= int64(request) // there is always progress
				}
				return io.MultiReader(io.LimitReader(body, n), iotest.ErrReader(c.err)), nil
			}
			var out bytes.Buffer
			err := Stream(t.Context(), &out, d, size, from)
			if c.works != (err == nil) || !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if !bytes.HasPrefix(from.content, out.Bytes()) {
				t.Error("other bytes came")
			}
			if requests, _ := from.counts(); !c.works && requests > 1+maxIdle {
				t.Errorf("%d requests", requests)
			}
		})
	}
	if err := Stream(t.Context(), io.Discard, digestOf(nil), -1, zeros); err == nil {
		t.Error("a negative size was streamed")
	}
}
