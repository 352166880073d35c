package cache

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// layerNo is a layer of n bytes that no other is like.
func layerNo(i, n int) *madePlain {
	p := newPlain(n)
	binary.BigEndian.PutUint64(p.content, uint64(i)+1)
	return p
}

// readLayerOnce opens a layer, reads all of it and closes it, by the clock of its store:
// files that were only written have the time of the disk.
func readLayerOnce(t testing.TB, l *Layer, p *madePlain) {
	t.Helper()
	r := l.Plain(p)
	mustReadPlain(t, r, p.content)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	l.store.fetching.Wait()
	l.store.dropPlains()
}

func hasFile(l *Layer, name string) bool { return exists(filepath.Join(l.dir, name)) }

// TestLayerBound: "The cache is never larger than --cache-size: what was used longest
// ago goes first, and what is open stays." Layers are filled to many times the limit, by
// passes and by spans, between blobs. One that is read again and again stays, and so
// does the index of each.
func TestLayerBound(t *testing.T) {
	const limit, size = 12 << 20, 1 << 20
	clock := newTestClock()
	dir := t.TempDir()
	s := openStoreWith(t, dir, Options{MaxBytes: limit, Now: clock.time})
	loved := layerNo(1000, size)
	fill(t, s.Layer(blobOf(loved.content)), loved.content, text("index"))
	var layers []*Layer
	for i := range 40 {
		clock.pass(2 * usedEvery)
		p := layerNo(i, size)
		l := s.Layer(blobOf(p.content))
		layers = append(layers, l)
		if i%2 == 0 {
			fill(t, l, p.content, text("index"))
		} else if err := l.PutIndex(text("index")); err != nil {
			t.Fatal(err)
		}
		readLayerOnce(t, l, p)
		from, d := newSource(100<<10 + i)
		readOnce(t, s, from, d)
		if n := takes(t, dir); n > limit {
			t.Fatalf("%d bytes after layer %d, the limit is %d", n, i, limit)
		}
		clock.pass(2 * usedEvery)
		readLayerOnce(t, s.Layer(blobOf(loved.content)), loved)
	}
	if n := loved.counts(); n > 0 {
		t.Errorf("%d spans were made of the layer that is used most", n)
	}
	for i, l := range layers {
		if !hasFile(l, indexName) {
			t.Errorf("the index of layer %d is gone", i)
		}
		if there, wanted := hasFile(l, plainName), i >= len(layers)-3; there != wanted && (wanted || i < len(layers)-12) {
			t.Errorf("plain bytes of layer %d are there: %v", i, there)
		}
	}
	if n := takes(t, dir); n < limit/2 {
		t.Errorf("only %d bytes of %d are used", n, limit)
	}
}

// TestLayerIndexesGoLast has more indexes than there is room for: then they go, too.
func TestLayerIndexesGoLast(t *testing.T) {
	const limit, size = 4 << 20, 128 << 10
	clock := newTestClock()
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit, Now: clock.time})
	index := text(strings.Repeat("i", size))
	var layers []*Layer
	from, d := newSource(1 << 20)
	for i := range 60 {
		clock.pass(2 * usedEvery)
		readOnce(t, s, from, d) // used after each index, and gone before them
		clock.pass(2 * usedEvery)
		l := s.Layer(blobOf([]byte{byte(i)}))
		layers = append(layers, l)
		if err := l.PutIndex(index); err != nil {
			t.Fatal(err)
		}
		if n := takes(t, s.dir); n > limit {
			t.Fatalf("%d bytes after index %d, the limit is %d", n, i, limit)
		}
		if i < 20 && !hasFile(layers[0], indexName) {
			t.Fatalf("an index has gone before a blob, after index %d", i)
		}
	}
	if hasFile(layers[0], indexName) || exists(layers[0].dir) {
		t.Error("the index that was used longest ago is there")
	}
	if _, err := layers[59].Index(); err != nil {
		t.Error(err)
	}
}

// TestOpenLayerStays has readers, in this process and in another, of layers that would
// be evicted first.
func TestOpenLayerStays(t *testing.T) {
	const limit, size = 8 << 20, 1 << 20
	clock := newTestClock()
	dir := t.TempDir()
	s, other := openStoreWith(t, dir, Options{MaxBytes: limit, Now: clock.time}), openStore(t, dir)
	here, there := layerNo(1, size), layerNo(2, size)
	fill(t, s.Layer(blobOf(here.content)), here.content, text("index"))
	fill(t, s.Layer(blobOf(there.content)), there.content, text("index"))
	hereReader := openPlain(t, s.Layer(blobOf(here.content)), here)
	thereReader := openPlain(t, other.Layer(blobOf(there.content)), there)
	mustReadPlain(t, hereReader, here.content)
	mustReadPlain(t, thereReader, there.content)
	churn := func(from int) {
		for i := range 20 {
			clock.pass(2 * usedEvery)
			p := layerNo(from+i, size)
			fill(t, s.Layer(blobOf(p.content)), p.content, text("index"))
			readLayerOnce(t, s.Layer(blobOf(p.content)), p)
		}
	}
	churn(100)
	if r, err := Prune(t.Context(), dir, Pruning{Limited: true, MaxBytes: 3 << 20}); err != nil || len(r.InUse) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	mustReadPlain(t, hereReader, here.content)
	mustReadPlain(t, thereReader, there.content)
	if n := here.counts() + there.counts(); n > 0 {
		t.Errorf("%d spans were made of what was open", n)
	}
	_, _ = hereReader.Close(), thereReader.Close()
	churn(200)
	if hasFile(s.Layer(blobOf(here.content)), plainName) {
		t.Error("what is open no more has stayed")
	}
}

// TestLayerOversize has a layer that is larger than the cache: half of it is all that
// its plain bytes take, and what is read is right.
func TestLayerOversize(t *testing.T) {
	const limit, size = 8 << 20, 20 << 20
	p := layerNo(0, size)
	for name, filled := range map[string]bool{"by a pass": true, "by spans": false} {
		t.Run(name, func(t *testing.T) {
			s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit, Now: later})
			from, d := newSource(1 << 20)
			readOnce(t, s, from, d)
			l := s.Layer(blobOf(p.content))
			if filled {
				fill(t, l, p.content, text("index"))
			}
			r := openPlain(t, l, p)
			for range 2 {
				mustReadPlain(t, r, p.content)
			}
			n := takes(t, s.dir)
			if n > limit/plainParts+2<<20 || n < limit/plainParts/2 {
				t.Errorf("%d bytes are kept, the limit is %d", n, limit)
			}
			if !exists(s.blobPath(d)) {
				t.Error("it has driven out another")
			}
		})
	}
}

// TestLayerEvictedWhileRead removes what is kept of a layer again and again while it is
// filled and read.
func TestLayerEvictedWhileRead(t *testing.T) {
	p := layerNo(0, 2<<20)
	dir := t.TempDir()
	s := openStore(t, dir)
	l := s.Layer(blobOf(p.content))
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := Clear(t.Context(), dir); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 60 {
		if i%4 == 0 {
			fill(t, l, p.content, text("index"))
		}
		if b, err := l.Index(); err == nil && string(b) != "index" {
			t.Errorf("the index is %q", b)
		}
		r := l.Plain(p)
		b := make([]byte, 100_000)
		if _, err := r.ReadAt(t.Context(), b, int64(i)*30_000); err != nil || string(b) != string(p.content[i*30_000:][:len(b)]) {
			t.Errorf("at %d: %v", i*30_000, err)
		}
		_ = r.Close()
	}
	close(stop)
	group.Wait()
}

// TestLayerLeftovers has files that kills left of a pass, and one that is being written:
// whoever opens the directory, prunes or needs room removes the former.
func TestLayerLeftovers(t *testing.T) {
	for name, removes := range map[string]func(dir string) error{
		"open": func(dir string) error {
			openStore(t, dir).fetching.Wait()
			return nil
		},
		"prune": func(dir string) error {
			_, err := Prune(t.Context(), dir, Pruning{Limited: true})
			return err
		},
		"room": func(dir string) error {
			from, d := newSource(1 << 20)
			s := openStoreWith(t, dir, Options{MaxBytes: 3 << 19})
			readOnce(t, s, from, d)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := layerNo(0, 1<<20)
			l := openStore(t, dir).Layer(blobOf(p.content))
			f := l.Fill()
			_ = inPieces(f, p.content)
			being := f.file.Name()
			left := filepath.Join(layersDir(dir), blobOf(nil).Blob.Hex, unfinished+"1")
			for _, path := range []string{left, left + mapSuffix, left + "2"} {
				_ = os.MkdirAll(filepath.Dir(path), 0o700)
				write(t, path, make([]byte, 1<<20))
			}
			old := time.Now().Add(-2 * leftAfter)
			for _, path := range []string{being, left, left + mapSuffix} {
				if err := os.Chtimes(path, old, old); err != nil {
					t.Fatal(err)
				}
			}
			if err := removes(dir); err != nil {
				t.Fatal(err)
			}
			if exists(left) || exists(left+mapSuffix) || !exists(left+"2") || !exists(being) {
				t.Errorf("of those that were left %v and %v are there; of those that are written %v and %v",
					exists(left), exists(left+mapSuffix), exists(left+"2"), exists(being))
			}
			if err := f.Keep(text("index")); err != nil {
				t.Error(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			mustReadPlain(t, openPlain(t, l, p), p.content)
			if n := p.counts(); n > 0 {
				t.Errorf("%d spans were made", n)
			}
		})
	}
}
