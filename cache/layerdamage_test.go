package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// layerDamage is what a failing disk or a user may do to a file, in place.
var layerDamage = map[string]func(random *rand.Rand, f *os.File, size int64) error{
	"bit": func(random *rand.Rand, f *os.File, size int64) error {
		var b [1]byte
		at := random.Int64N(size)
		_, _ = f.ReadAt(b[:], at)
		b[0] ^= 1 << random.IntN(8)
		_, err := f.WriteAt(b[:], at)
		return err
	},
	"zeros": func(random *rand.Rand, f *os.File, size int64) error {
		at := random.Int64N(size)
		_, err := f.WriteAt(make([]byte, min(size-at, 1+random.Int64N(5000))), at)
		return err
	},
	"noise": func(random *rand.Rand, f *os.File, size int64) error {
		at := random.Int64N(size)
		b := make([]byte, min(size-at, 1+random.Int64N(5000)))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		_, err := f.WriteAt(b, at)
		return err
	},
	"cut": func(random *rand.Rand, f *os.File, size int64) error { return f.Truncate(random.Int64N(size)) },
	"longer": func(random *rand.Rand, f *os.File, size int64) error {
		_, err := f.WriteAt([]byte("more"), size+random.Int64N(100))
		return err
	},
	"remove": func(_ *rand.Rand, f *os.File, _ int64) error { return os.Remove(f.Name()) },
	"shift": func(random *rand.Rand, f *os.File, size int64) error {
		at := random.Int64N(size)
		b := make([]byte, size-at)
		n, _ := f.ReadAt(b, at)
		_, err := f.WriteAt(b[:n], at+1)
		return err
	},
}

// harm does one of them to one file of a layer, so that its change time is another than
// before: what was checked stands as long as that.
func harm(t *testing.T, random *rand.Rand, path string, damage func(*rand.Rand, *os.File, int64) error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return // it is not there any more
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return
	}
	before := changeTime(f)
	if err := damage(random, f, info.Size()); err != nil {
		t.Error(err)
	}
	for changeTime(f) == before { // which is that of a tick
		if err := f.Chmod(0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLayerDamage damages each file of a layer at random places, while the layer is
// open and before it is opened. "Damage in the cache directory is a miss": nothing that
// is read is wrong, and what is missing is made again.
func TestLayerDamage(t *testing.T) {
	const size = 700_000
	p := layerNo(0, size)
	for _, file := range []string{indexName, plainName, mapName} {
		for name, damage := range layerDamage {
			t.Run(file+", "+name, func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(len(file)), uint64(len(name))))
				dir := t.TempDir()
				s := openStore(t, dir)
				l := s.Layer(blobOf(p.content))
				fill(t, l, p.content, text("index"))
				open := openPlain(t, l, p)
				mustReadPlain(t, open, p.content) // and is checked
				mustReadPlain(t, open, p.content)
				for range 12 {
					harm(t, random, filepath.Join(l.dir, file), damage)
					readPlainAtRandom(t, random, open, p.content, 6)
					mustReadPlain(t, open, p.content)
					next := openStore(t, dir)
					fresh := next.Layer(l.id)
					if b, err := fresh.Index(); err != nil && !errors.Is(err, iofs.ErrNotExist) || err == nil && string(b) != "index" {
						t.Errorf("the index is %q, %v", b, err)
					}
					r := openPlain(t, fresh, p)
					mustReadPlain(t, r, p.content)
					if file == indexName {
						continue
					}
					made := p.counts()
					mustReadPlain(t, openPlain(t, openStore(t, dir).Layer(l.id), p), p.content)
					if n := p.counts(); n != made {
						t.Errorf("%d spans were made once more", n-made)
					}
				}
			})
		}
	}
}

// TestLayerSwapped has the files of one layer in the place of another's.
func TestLayerSwapped(t *testing.T) {
	a, b := layerNo(1, 500_000), layerNo(2, 500_000)
	for i := range b.content {
		b.content[i] ^= 0x55
	}
	for _, files := range [][]string{{plainName}, {mapName}} {
		dir := t.TempDir()
		s := openStore(t, dir)
		for _, p := range []*madePlain{a, b} {
			fill(t, s.Layer(blobOf(p.content)), p.content, text("index"))
		}
		for _, file := range files {
			from, to := filepath.Join(s.Layer(blobOf(a.content)).dir, file), filepath.Join(s.Layer(blobOf(b.content)).dir, file)
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []*madePlain{b, a} {
			mustReadPlain(t, openPlain(t, openStore(t, dir).Layer(blobOf(p.content)), p), p.content)
		}
	}
}

// TestLayerModel reads layers at random and fills them, from two stores on a directory,
// while spans fail, files are damaged and all is evicted. What is read is right, and
// errors are those that were injected.
func TestLayerModel(t *testing.T) {
	const layers, readers, reads = 3, 6, 50
	for name, damaged := range map[string]bool{"spans fail": false, "disk fails": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts := Options{ErrorTTL: time.Nanosecond, MaxBytes: 3 << 20} // the real clock
			stores := []*Store{openStoreWith(t, dir, opts), openStoreWith(t, dir, opts)}
			var group sync.WaitGroup
			for i := range uint64(readers) {
				random := rand.New(rand.NewPCG(2, i))
				p := layerNo(int(i)%layers, 1<<20)
				p.copies = failingSpans(rand.New(rand.NewPCG(3, i)))
				l := stores[i%2].Layer(blobOf(p.content))
				group.Go(func() { useLayer(t, random, l, p, reads) })
			}
			done := make(chan struct{})
			go func() { group.Wait(); close(done) }()
			for random := rand.New(rand.NewPCG(4, 4)); ; {
				select {
				case <-done:
				default:
					if damaged {
						damage(random, dir)
					}
					continue
				}
				break
			}
			for _, s := range stores {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			for i := range layers {
				p := layerNo(i, 1<<20)
				s := openStore(t, dir)
				for range 2 {
					readLayerOnce(t, s.Layer(blobOf(p.content)), p)
				}
			}
		})
	}
}

// failingSpans makes spans fail at random.
func failingSpans(random *rand.Rand) func(ctx context.Context, n int, w io.Writer, b []byte) error {
	var mu sync.Mutex
	return func(_ context.Context, _ int, w io.Writer, b []byte) error {
		mu.Lock()
		kind, n := random.IntN(12), random.IntN(len(b)+1)
		mu.Unlock()
		switch kind {
		case 0:
			_ = inPieces(w, make([]byte, n)) // which are wrong
			return errInjected
		case 1:
			_ = inPieces(w, b[:n])
			panic("injected")
		case 2:
			_ = inPieces(w, b)
			return errInjected
		}
		return inPieces(w, b)
	}
}

// useLayer reads a layer at random, fills it, and closes it now and then.
func useLayer(t *testing.T, random *rand.Rand, l *Layer, p *madePlain, reads int) {
	r := l.Plain(p)
	for range reads {
		off := random.Int64N(p.Size())
		b := make([]byte, random.Int64N(300_000))
		n, err := r.ReadAt(t.Context(), b, off)
		if !bytes.Equal(b[:n], p.content[off:off+int64(n)]) {
			t.Errorf("%d bytes at %d are not those of the layer", n, off)
		}
		if err == nil && n < len(b) {
			t.Errorf("%d bytes of %d, and no error", n, len(b))
		}
		if !excused(err) {
			t.Error(err)
		}
		switch random.IntN(8) {
		case 0:
			_ = r.Close()
			r = l.Plain(p)
		case 1:
			fill(t, l, p.content, text("index"))
		case 2:
			if b, err := l.Index(); err == nil && string(b) != "index" {
				t.Errorf("the index is %q", b)
			}
		case 3:
			f := l.Fill()
			_ = inPieces(f, p.content[:random.IntN(len(p.content))])
			_ = f.Close()
		}
	}
	_ = r.Close()
}
