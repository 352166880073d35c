package cache

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// hangingLayerChild hangs in the middle of a pass over one layer, and of the third span
// of another.
func hangingLayerChild(_ *source, r *Reader) error {
	s := r.content.store
	filled := layerNo(1, childSize)
	f := s.Layer(blobOf(filled.content)).Fill()
	_ = inPieces(f, filled.content[:childSize/2])
	defer runtime.KeepAlive(f) // which has a lock
	p := layerNo(0, childSize)
	p.copies = func(_ context.Context, n int, w io.Writer, b []byte) error {
		if n < 3 {
			return inPieces(w, b)
		}
		_ = inPieces(w, b[:len(b)/2])
		fmt.Println("hangs")
		_, _ = io.Copy(io.Discard, os.Stdin) // as long as the parent lives
		return nil
	}
	_, err := s.Layer(blobOf(p.content)).Plain(p).ReadAt(context.Background(), make([]byte, childSize), 0)
	return err
}

// TestLayerKilled kills a process in the middle of a pass and of a span: what was made
// before is there for another, and nothing else.
func TestLayerKilled(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, "layer hang", dir)
	if line := c.line(t); line != "hangs" {
		t.Fatalf("the child said %q", line)
	}
	filled, p := layerNo(1, childSize), layerNo(0, childSize)
	left, _ := filepath.Glob(filepath.Join(layersDir(dir), filled.name(), unfinished+"*"))
	if len(left) != 1 {
		t.Fatalf("%q are there of the pass", left)
	}
	aged(t, dir)
	sweepLayers(t.Context(), dir)
	if !exists(left[0]) {
		t.Error("a file that is being written was removed")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	s := openStore(t, dir)
	s.fetching.Wait()
	if exists(left[0]) {
		t.Error("what the pass has left is there")
	}
	mustReadPlain(t, openPlain(t, s.Layer(blobOf(p.content)), p), p.content)
	if !slices.Equal(p.made, p.begins[2:]) {
		t.Errorf("%d spans were made after the kill, want the missing %d", len(p.made), len(p.begins)-2)
	}
	mustReadPlain(t, openPlain(t, s.Layer(blobOf(filled.content)), filled), filled.content)
	if v, err := Verify(t.Context(), dir); err != nil || len(v.Damaged) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// name is that of the layer's directory.
func (p *madePlain) name() string { return blobOf(p.content).name() }

// aged makes files that are being written, or that kills have left, look old.
func aged(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(layersDir(dir), "*", unfinished+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		old := time.Now().Add(-2 * leftAfter)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// sharingLayerChild reads the first half of a layer, and says how many spans it has made.
func sharingLayerChild(_ *source, r *Reader) error {
	p := layerNo(0, childSize)
	plain := r.content.store.Layer(blobOf(p.content)).Plain(p)
	if _, err := plain.ReadAt(context.Background(), make([]byte, childSize/2), 0); err != nil {
		return err
	}
	fmt.Println(p.counts())
	_, _ = io.Copy(io.Discard, os.Stdin) // and has it open
	return nil
}

// TestLayerOfTwoProcesses has a layer open that another process adds to: what is there
// by now is not made again.
func TestLayerOfTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	p := layerNo(0, childSize)
	s := openStore(t, dir)
	r := openPlain(t, s.Layer(blobOf(p.content)), p)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), childSize-1); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, "layer share", dir)
	var made int
	if _, err := fmt.Sscan(c.line(t), &made); err != nil {
		t.Fatal(err)
	}
	mustReadPlain(t, r, p.content)
	if n := p.counts(); n+made != len(p.begins) {
		t.Errorf("%d and %d spans were made by two processes, want each of %d once", n, made, len(p.begins))
	}
}

// fillingLayerChild fills the directory with layers, by passes and by spans, within a
// limit, until it is killed.
func fillingLayerChild(_ *source, r *Reader) error {
	s, err := Open(r.content.store.dir, Options{MaxBytes: fillLimit})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		p := layerNo(i%20, 700_000+i%20*1000)
		l := s.Layer(blobOf(p.content))
		if b, err := l.Index(); err == nil && string(b) != "index" {
			return fmt.Errorf("the index is %q", b)
		}
		if i%3 > 0 {
			f := l.Fill()
			_ = inPieces(f, p.content)
			if err := f.Keep(text("index")); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		plain := l.Plain(p)
		b := make([]byte, len(p.content))
		if _, err := plain.ReadAt(context.Background(), b, 0); err != nil || string(b) != string(p.content) {
			return fmt.Errorf("%d bytes: %w", len(b), err)
		}
		if err := plain.Close(); err != nil {
			return err
		}
		fmt.Println("read")
	}
}

// TestLayerKilledWhileFilling kills processes that fill a directory with layers and
// evict, at any moment: what they leave is sound, within the limit, and fit to go on
// with.
func TestLayerKilledWhileFilling(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 7))
	for range 8 {
		a, b := startChild(t, "layer fill", dir), startChild(t, "layer fill", dir)
		for range 5 + random.IntN(15) {
			a.line(t)
		}
		b.line(t)
		for _, c := range []*child{a, b} {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // it was killed
		}
		if n := takesAtOnce(t, dir); n > fillLimit+2*minStep {
			t.Errorf("%d bytes, the limit is %d", n, fillLimit)
		}
		aged(t, dir)
		sweepLayers(t.Context(), dir)
		v, err := Verify(t.Context(), dir)
		if err != nil || len(v.Damaged) > 0 {
			t.Errorf("%+v, %v", v, err)
		}
		s := openStore(t, dir)
		for i := range 20 {
			p := layerNo(i, 700_000+i*1000)
			readLayerOnce(t, s.Layer(blobOf(p.content)), p)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
