package cache

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A closingBody is all of a blob, and counts when it is closed.
type closingBody struct {
	io.Reader
	closed *atomic.Int64
}

func (closingBody) Whole() bool    { return true }
func (b closingBody) Close() error { b.closed.Add(1); return nil }

// TestFeedEnds holds a blob of a source without ranges open that is not kept. The body is
// kept for who goes on soon, and closed for who does not; he gets the right bytes.
func TestFeedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20 * windowSize
		from, d := newSource(size)
		var opened, closed atomic.Int64
		s := openStoreWith(t, t.TempDir(), keepsNothing)
		r := openBlob(t, s, d, size, fetch(func(context.Context, int64, int64) (io.Reader, int64, error) {
			opened.Add(1)
			return closingBody{bytes.NewReader(from.content), &closed}, 0, nil
		}))
		at := int64(0)
		read := func() {
			mustReadAt(t, r, from.content, at, windowSize)
			at += windowSize
		}
		for range 4 {
			read()
			time.Sleep(feedIdle - time.Second)
		}
		if opened.Load() != 1 || closed.Load() != 0 {
			t.Errorf("%d bodies for one who goes on, %d of them closed", opened.Load(), closed.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if opened.Load() != 1 || closed.Load() != 1 {
			t.Errorf("%d bodies for one who does not, %d of them closed", opened.Load(), closed.Load())
		}
		read()
		read()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		s.fetching.Wait()
		if opened.Load() != 2 || closed.Load() != 2 {
			t.Errorf("in the end %d bodies, %d of them closed", opened.Load(), closed.Load())
		}
	})
}
