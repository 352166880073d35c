package cache

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLayerLingers closes a layer, which others that come soon find open. After a while
// it is not in use any more.
func TestLayerLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStoreWith(t, t.TempDir(), Options{})
		p := layerNo(1, 1<<20)
		l := s.Layer(blobOf(p.content))
		fill(t, l, p.content, text("index"))
		read := func() (c *plainContent, f *plainFile) {
			r := l.Plain(p)
			mustReadPlain(t, r, p.content)
			f = r.content.current()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			return r.content, f
		}
		c, f := read()
		for range 3 {
			time.Sleep(lingering - time.Millisecond) // of the bubble's clock
			if _, next := read(); next != f {
				t.Error("it was opened once more")
			}
		}
		if r, err := Prune(t.Context(), s.dir, Pruning{Limited: true}); err != nil || len(r.InUse) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		time.Sleep(lingering + time.Millisecond)
		if c.current() != nil {
			t.Error("it is open")
		}
		if r, err := Prune(t.Context(), s.dir, Pruning{Limited: true}); err != nil || len(r.InUse) != 0 || len(r.Removed) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestLayerIdleMakesRoom has layers that nobody reads any more, of which this process has
// the files open yet: they go where room is needed.
func TestLayerIdleMakesRoom(t *testing.T) {
	const limit, size = 8 << 20, 1 << 20
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit})
	for i := range 20 {
		p := layerNo(i, size)
		l := s.Layer(blobOf(p.content))
		fill(t, l, p.content, text("index"))
		r := l.Plain(p)
		mustReadPlain(t, r, p.content)
		_ = r.Close()
		if n := takes(t, s.dir); n > limit || p.counts() > 0 {
			t.Fatalf("%d bytes after layer %d, of which %d spans were made", n, i, p.counts())
		}
	}
}

// TestLayerComesBack has a reader come while the files are about to be closed, and one
// who stays when the store is closed.
func TestLayerComesBack(t *testing.T) {
	s := openStore(t, t.TempDir())
	p := layerNo(1, 1<<20)
	l := s.Layer(blobOf(p.content))
	fill(t, l, p.content, text("index"))
	r := l.Plain(p)
	mustReadPlain(t, r, p.content)
	_ = r.Close()
	next := l.Plain(p)
	c, f := next.content, next.content.current()
	c.close()
	if f == nil || c.current() != f {
		t.Error("files were closed that one reads")
	}
	mustReadPlain(t, next, p.content)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	mustReadPlain(t, next, p.content) // what is there needs nothing
	_ = next.Close()
	if c.current() != nil {
		t.Error("files are open after the store and the last reader")
	}
}
