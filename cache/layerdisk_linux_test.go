package cache

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLayerFailingDisk: "A full or failing disk never fails a read: what cannot be kept
// is fetched each time." It has the cases of TestFailingDisk, with layers.
func TestLayerFailingDisk(t *testing.T) { forFailingDisks(t, failingDisk.readLayers) }

// readLayers reads layers: one that was filled before, one of which a half is there,
// and one that is filled, or made, while the disk fails.
func (f failingDisk) readLayers(t *testing.T) {
	const size = 4 << 20
	s := openStore(t, t.TempDir())
	whole, half, fresh := layerNo(1, size), layerNo(2, size), layerNo(3, size)
	fill(t, s.Layer(blobOf(whole.content)), whole.content, text("index"))
	r := s.Layer(blobOf(half.content)).Plain(half)
	if _, err := r.ReadAt(t.Context(), make([]byte, size/2+1<<20), 0); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	open := openPlain(t, s.Layer(blobOf(whole.content)), whole) // before it fails
	mustReadPlain(t, open, whole.content)
	if err := failSystemCall(f.number, f.from, f.errno); err != nil {
		t.Fatal(noFilter, err)
	}
	mustReadPlain(t, open, whole.content)
	if f.number == unix.SYS_PWRITE64 && whole.counts() > 0 {
		t.Errorf("%d spans were made of what is there", whole.counts())
	}
	for range 2 {
		fill(t, s.Layer(blobOf(fresh.content)), fresh.content, text("index"))
		for _, p := range []*madePlain{whole, half, fresh} {
			r := s.Layer(blobOf(p.content)).Plain(p)
			mustReadPlain(t, r, p.content)
			readPlainAtRandom(t, rand.New(rand.NewPCG(5, 5)), r, p.content, 20)
			_ = r.Close()
			if n := p.counts(); n > 10*len(p.begins) {
				t.Errorf("%d spans were made of %d", n, len(p.begins))
			}
		}
	}
	if s.Stats().Unkept == 0 {
		t.Error("nothing has failed")
	}
}

// TestLayerFullDisk has a disk that is smaller than a layer; then one that others have
// filled, so that not even an index has room; then what was kept is in the way.
func TestLayerFullDisk(t *testing.T) {
	disk := tmpfs(t, "16m")
	s, err := Open(filepath.Join(disk, "cache"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	large := layerNo(0, 40<<20)
	for range 2 {
		fill(t, s.Layer(blobOf(large.content)), large.content, text("index"))
		readLayerOnce(t, s.Layer(blobOf(large.content)), large)
	}
	if _, err := s.Layer(blobOf(large.content)).Index(); err != nil {
		t.Error(err)
	}
	for i := range 8 { // each has room, if what was before goes
		p := layerNo(i+1, 3<<20)
		l := s.Layer(blobOf(p.content))
		fill(t, l, p.content, text("index"))
		readLayerOnce(t, l, p)
		if n := p.counts(); n > 0 {
			t.Errorf("layer %d was not kept: %d spans were made", i, n)
		}
	}
	if _, err := Clear(t.Context(), s.dir); err != nil {
		t.Error(err)
	}
	others := filepath.Join(disk, "others")
	if err := fillDisk(others); err != nil {
		t.Fatal(err)
	}
	p := layerNo(100, 3<<20)
	l := s.Layer(blobOf(p.content))
	for range 2 {
		fill(t, l, p.content, text("index"))
		readLayerOnce(t, l, p)
	}
	if err := l.PutIndex(text("index")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	fill(t, l, p.content, text("index"))
	made := p.counts()
	readLayerOnce(t, l, p)
	if n := p.counts(); n > made {
		t.Error("nothing is kept, though there is room again")
	}
}

// fillDisk writes to a file until its disk is full.
func fillDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if isFull(err) {
		err = nil
	}
	if failed := f.Close(); err == nil {
		err = failed
	}
	return err
}

// TestLayerReadOnlyDisk has a directory on a file system that has become read-only,
// before it is opened and after.
func TestLayerReadOnlyDisk(t *testing.T) {
	disk := tmpfs(t, "32m")
	dir := filepath.Join(disk, "cache")
	known, fresh := layerNo(1, 3<<20), layerNo(2, 3<<20)
	live, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, live.Layer(blobOf(known.content)), known.content, text("index"))
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "remount,ro", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	begun, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{live, begun} {
		readLayerOnce(t, s.Layer(blobOf(known.content)), known)
		if _, err := s.Layer(blobOf(known.content)).Index(); err != nil {
			t.Error(err)
		}
		l := s.Layer(blobOf(fresh.content))
		fill(t, l, fresh.content, text("index"))
		readLayerOnce(t, l, fresh)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := known.counts(); n > 0 {
		t.Errorf("%d spans were made of what is there", n)
	}
}

// TestLayerNoDirectory has one that cannot be made.
func TestLayerNoDirectory(t *testing.T) {
	s := openStoreWith(t, "/proc/nosuch/cache", Options{})
	p := layerNo(1, 3<<20)
	l := s.Layer(blobOf(p.content))
	for range 2 {
		fill(t, l, p.content, text("index"))
		readLayerOnce(t, l, p)
	}
	if b, err := l.Index(); err == nil {
		t.Errorf("the index is %q", b)
	}
	if err := l.DropIndex(); err == nil {
		t.Error("an index was dropped that cannot be there")
	}
}
