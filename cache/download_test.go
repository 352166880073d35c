package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
)

func TestBodiesThatEndEarly(t *testing.T) {
	from, d := newSource(3 << 20)
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		return io.MultiReader(io.LimitReader(body, 200<<10), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
	}
	r := openBlob(t, openStore(t, t.TempDir()), d, 3<<20, from)
	prefetch(r, 0, 3<<20)
	mustRead(t, r, from.content)
}

// TestLyingSources has answers that are not what was asked for. None may be
// waited for, asked again for ever, or taken for the blob.
func TestLyingSources(t *testing.T) {
	const size = 20 * chunkSize
	honest, d := newSource(size)
	body := func(off, n int64) io.Reader {
		return bytes.NewReader(honest.content[min(off, size):min(off+n, size)])
	}
	for name, c := range map[string]struct {
		answer   fetch
		requests int
		mismatch bool
	}{
		"another start": {func(_ context.Context, off, n int64) (io.Reader, int64, error) {
			return body(off, n), off + chunkSize, nil
		}, 1, true},
		"a start before the beginning": {func(_ context.Context, off, n int64) (io.Reader, int64, error) {
			return body(off, n), -chunkSize, nil
		}, 1, true},
		"nothing": {func(_ context.Context, off, _ int64) (io.Reader, int64, error) {
			return body(off, 0), off, nil
		}, maxIdle, true},
		"less than a chunk": {func(_ context.Context, off, _ int64) (io.Reader, int64, error) {
			return body(off, chunkSize-1), off, nil
		}, maxIdle, true},
		"too short, without ranges": {func(context.Context, int64, int64) (io.Reader, int64, error) {
			return body(0, size-1), 0, nil
		}, 1 + 2*maxIdle, true},
		"a panic": {func(context.Context, int64, int64) (io.Reader, int64, error) { panic("a bug") }, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			from := fetch(func(ctx context.Context, off, n int64) (io.Reader, int64, error) {
				requests++
				return c.answer(ctx, off, n)
			})
			s := openStore(t, t.TempDir())
			r := openBlob(t, s, d, size, from)
			_, err := r.ReadAt(t.Context(), make([]byte, chunkSize), 10*chunkSize)
			if err == nil { // what came was right as far as it went
				_, err = readAll(t, r)
			}
			if err == nil || errors.Is(err, ErrMismatch) != c.mismatch {
				t.Errorf("error %v, want ErrMismatch: %t", err, c.mismatch)
			}
			if requests > c.requests {
				t.Errorf("%d requests, want at most %d", requests, c.requests)
			}
		})
	}
	t.Run("more than asked", func(t *testing.T) {
		from := fetch(func(_ context.Context, off, _ int64) (io.Reader, int64, error) {
			return io.MultiReader(body(off, size), zeroReader{}), off, nil
		})
		mustRead(t, openBlob(t, openStore(t, t.TempDir()), d, size, from), honest.content)
	})
}

// TestPanicGivesTheLeaseBack has another process need what a Fetcher panicked
// over.
func TestPanicGivesTheLeaseBack(t *testing.T) {
	const size = 2 * chunkSize
	from, d := newSource(size)
	dir := t.TempDir()
	r := openBlob(t, openStore(t, dir), d, size, fetch(func(context.Context, int64, int64) (io.Reader, int64, error) {
		panic("a bug")
	}))
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Fatal("no error")
	}
	mustRead(t, openBlob(t, openStore(t, dir), d, size, from), from.content)
}

// TestRangeless has a source that sends all, whatever it is asked for: once, to
// readers of any part of it.
func TestRangeless(t *testing.T) {
	const size = 12 << 20
	for name, first := range map[string]int64{"from the beginning": 0, "from the middle": size / 2, "from the end": size - 1000} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			from.rangeless = true
			r := openBlob(t, openStore(t, t.TempDir()), d, size, from)
			prefetch(r, first, 1)
			for off := int64(0); off < size; off += 1 << 20 { // more ranges than one
				prefetch(r, off, 1<<20)
			}
			var group sync.WaitGroup
			for i := range int64(20) {
				group.Go(func() { mustReadAt(t, r, from.content, i*size/20, 1000) })
				group.Go(func() { mustRead(t, r, from.content) })
			}
			group.Wait()
			if requests, sent := from.counts(); requests != 1 || sent != size {
				t.Errorf("%d requests for %d of %d bytes", requests, sent, size)
			}
		})
	}
}

func TestRangelessFailsInTheMiddle(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		breaks func(request int) bool
		works  bool
	}{
		"once":     {func(request int) bool { return request == 1 }, true},
		"for ever": {func(int) bool { return true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			from.rangeless = true
			from.serve = func(request int, body io.Reader) (io.Reader, error) {
				if !c.breaks(request) {
					return body, nil
				}
				// A little further each time, so that there is always progress.
				part := io.LimitReader(body, int64(request)*10*chunkSize)
				return io.MultiReader(part, iotest.ErrReader(io.ErrUnexpectedEOF)), nil
			}
			r := openBlob(t, openStore(t, t.TempDir()), d, size, from)
			p := make([]byte, chunkSize)
			if _, err := r.ReadAt(t.Context(), p, size-chunkSize); (err == nil) != c.works {
				t.Errorf("error %v", err)
			}
			if requests, _ := from.counts(); c.works && requests != 2 || requests > maxIdle {
				t.Errorf("%d requests", requests)
			}
			mustReadAt(t, r, from.content, 0, 10*chunkSize) // what came is kept
		})
	}
}

// TestRangelessIsAbandoned has the only reader leave: the rest of the blob is
// not fetched for nobody.
func TestRangelessIsAbandoned(t *testing.T) {
	const size = 8 << 20
	from, d := newSource(size)
	from.rangeless = true
	gone := newGate()
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		return io.MultiReader(io.LimitReader(body, 1<<20), gone, body), nil
	}
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, from.content, chunkSize, 100)
	<-gone.waits
	_ = r.Close()
	gone.pass()
	s.fetching.Wait()
	if _, sent := from.counts(); sent >= size {
		t.Errorf("all %d bytes were fetched", sent)
	}
	if open := s.Stats().Open; open != 0 {
		t.Errorf("%d blobs are open", open)
	}
}
