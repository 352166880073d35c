package cache

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
)

// TestLayerKept: ReadKept reads what is on disk, and has nothing made: not what never was
// there, and not what was damaged since.
func TestLayerKept(t *testing.T) {
	p := newPlain(2 << 20)
	s := openStore(t, t.TempDir())
	r := openPlain(t, s.Layer(blobOf(p.content)), p)
	begin, end := p.Span(1 << 20)
	b := make([]byte, end-begin)
	kept := func(off int64, n int) bool {
		t.Helper()
		clear(b)
		ok := r.ReadKept(b[:n], off)
		if ok && !bytes.Equal(b[:n], p.content[off:off+int64(n)]) {
			t.Errorf("%d bytes at %d are others", n, off)
		}
		return ok
	}
	if kept(begin, 1) || p.counts() > 0 {
		t.Errorf("there is something before it was made, of which there is %d", p.counts())
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), begin); err != nil {
		t.Fatal(err)
	}
	s.fetching.Wait()
	for range 2 { // the second time they are checked already
		if !kept(begin, len(b)) || !kept(end-1, 1) {
			t.Error("what was made is not there")
		}
		if kept(end-1, 2) || kept(begin-1, 2) {
			t.Error("there is more than was made")
		}
	}
	if r.ReadKept(b[:1], p.Size()) || r.ReadKept(b[:1], -1) || !r.ReadKept(nil, 0) {
		t.Error("beyond the ends is something")
	}
	harm(t, rand.New(rand.NewPCG(1, 2)), r.content.file.data.Name(), func(_ *rand.Rand, f *os.File, _ int64) error {
		_, err := f.WriteAt([]byte{^p.content[begin]}, begin)
		return err
	})
	if kept(begin, 1) {
		t.Error("damage is handed out")
	}
	if n := p.counts(); n != 1 {
		t.Errorf("%d spans were made, want the one that was read", n)
	}
	mustReadPlain(t, r, p.content)
}
