package cache

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// inspectedLayers is a directory with two layers, the first of them used long ago, and
// of the second some of its plain bytes alone; and a blob, used in between.
func inspectedLayers(t *testing.T) (s *Store, old, young *Layer, made *madePlain) {
	t.Helper()
	clock := newTestClock()
	s = openStoreWith(t, t.TempDir(), Options{Now: clock.time})
	p := layerNo(1, 1<<20)
	old = s.Layer(blobOf(p.content))
	fill(t, old, p.content, text("index"))
	readLayerOnce(t, old, p)
	_, _ = old.Index() // which is its use
	clock.pass(24 * time.Hour)
	from, d := newSource(1 << 20)
	readOnce(t, s, from, d)
	clock.pass(24 * time.Hour)
	made = layerNo(2, 1<<20)
	young = s.Layer(LayerID{blobOf(made.content).Blob, blobOf([]byte("toc")).Blob})
	if err := young.PutIndex(text("index of a table")); err != nil {
		t.Fatal(err)
	}
	_, _ = young.Index()
	r := young.Plain(made)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1<<19), 0); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	s.fetching.Wait()
	s.dropPlains()
	return s, old, young, made
}

func TestLayerInfo(t *testing.T) {
	s, old, _, _ := inspectedLayers(t)
	write(t, filepath.Join(old.dir, unfinished+"1"), make([]byte, 100<<10))
	info, err := InfoOf(s.dir, AutoFree)
	if err != nil {
		t.Fatal(err)
	}
	if info.Blobs != 1 || info.Layers != 2 || info.IndexBytes == 0 || info.IndexBytes > 8<<10 {
		t.Errorf("%+v", info.Usage)
	}
	if n := info.PlainBytes; n < 1<<20 || n > 2<<20+108<<10 {
		t.Errorf("%d plain bytes", n)
	}
	if sum := info.BlobBytes + info.PlainBytes + info.IndexBytes; info.Bytes < sum || info.Bytes > sum+8<<10 || info.Bytes != takes(t, s.dir) {
		t.Errorf("%+v", info)
	}
	if age := info.Newest.Sub(info.Oldest); age < 47*time.Hour {
		t.Errorf("used between %s and %s", info.Oldest, info.Newest)
	}
}

func TestLayerPrune(t *testing.T) {
	for name, c := range map[string]struct {
		pruning func(now time.Time) Pruning
		removed []string // what of which layer, or "blob"
	}{
		"nothing":   {func(time.Time) Pruning { return Pruning{} }, nil},
		"old ones":  {func(now time.Time) Pruning { return Pruning{UnusedSince: now.Add(-36 * time.Hour)} }, []string{"old plain", "old index"}},
		"to a size": {func(time.Time) Pruning { return Pruning{Limited: true, MaxBytes: 2 << 20} }, []string{"old plain"}},
		"indexes":   {func(time.Time) Pruning { return Pruning{Limited: true, MaxBytes: 64 << 10} }, []string{"old plain", "blob", "young plain"}},
		"all":       {func(time.Time) Pruning { return Pruning{Limited: true} }, []string{"old plain", "blob", "young plain", "old index", "young index"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, old, young, _ := inspectedLayers(t)
			before := takes(t, s.dir)
			r, err := Prune(t.Context(), s.dir, c.pruning(s.opts.Now()))
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{old.id.Blob.String(): "old ", young.id.Blob.String(): "young "}
			var removed []string
			for _, b := range r.Removed {
				if b.Layer == "" {
					b.Layer = "blob"
				}
				removed = append(removed, names[b.Digest]+b.Layer)
			}
			if !slices.Equal(removed, c.removed) {
				t.Errorf("removed %q, want %q", removed, c.removed)
			}
			if after := takes(t, s.dir); r.Left != after || r.Freed != before-after {
				t.Errorf("%d freed and %d left, it was %d and is %d", r.Freed, r.Left, before, after)
			}
			for l, n := range map[*Layer]string{old: "old ", young: "young "} {
				for part, files := range map[string][]string{plainName: {plainName, mapName}, indexName: {indexName}} {
					for _, file := range files {
						if hasFile(l, file) == slices.Contains(removed, n+part) {
							t.Errorf("%s%s: %s is there: %v", n, part, file, hasFile(l, file))
						}
					}
				}
			}
			if name == "all" && (exists(old.dir) || exists(young.dir)) {
				t.Error("a directory is left")
			}
		})
	}
}

// TestLayerClear: "Cleaning up beside a mount is safe: what is open stays." It has one
// layer open, in another store.
func TestLayerClear(t *testing.T) {
	s, old, young, _ := inspectedLayers(t)
	p := layerNo(1, 1<<20)
	r := openPlain(t, openStore(t, s.dir).Layer(old.id), p)
	mustReadPlain(t, r, p.content)
	removal, err := Clear(t.Context(), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(removal.InUse) != 1 || removal.InUse[0].Digest != old.id.Blob.String() || removal.InUse[0].Layer != plainName {
		t.Errorf("%+v", removal)
	}
	if !hasFile(old, plainName) || !hasFile(old, mapName) || exists(young.dir) {
		t.Error("the wrong layer was removed")
	}
	mustReadPlain(t, r, p.content)
	if n := p.counts(); n > 0 {
		t.Errorf("%d spans were made of what was open", n)
	}
}

func TestLayerVerify(t *testing.T) {
	s, old, young, made := inspectedLayers(t)
	size := func(l *Layer, name string) int {
		info, err := os.Stat(filepath.Join(l.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	v, err := Verify(t.Context(), s.dir)
	if err != nil || len(v.Damaged) > 0 || v.Blobs != 1 || v.Indexes != 2 || v.Plain != 2 || v.Bytes < 2<<20+1<<19 {
		t.Fatalf("%+v, %v", v, err)
	}
	edit(t, filepath.Join(old.dir, plainName), flip(1<<20-1))
	edit(t, filepath.Join(old.dir, indexName), flip(2))
	edit(t, filepath.Join(young.dir, mapName), flip(20)) // its header
	if v, err = Verify(t.Context(), s.dir); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, d := range v.Damaged {
		found[d.Digest+" "+d.Layer] = d.Removed
	}
	for _, what := range []string{old.id.Blob.String() + " plain", old.id.Blob.String() + " index", young.id.Blob.String() + " plain"} {
		if !found[what] {
			t.Errorf("%s is not among %+v", what, v.Damaged)
		}
	}
	if len(v.Damaged) != 3 || exists(old.dir) || hasFile(young, plainName) || hasFile(young, mapName) || !hasFile(young, indexName) {
		t.Errorf("%+v", v)
	}
	if v, err = Verify(t.Context(), s.dir); err != nil || len(v.Damaged) > 0 || v.Indexes != 1 || v.Plain != 0 {
		t.Errorf("a second time: %+v, %v", v, err)
	}
	readLayerOnce(t, young, made)
	// Of a file that was cut short the pieces that are gone are damaged.
	edit(t, filepath.Join(young.dir, plainName), func(b []byte) []byte { return b[:len(b)-1] })
	if v, err = Verify(t.Context(), s.dir); err != nil || len(v.Damaged) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	readLayerOnce(t, young, made)
	// Of a map that was cut short, or ends with half a record, nothing is: the bytes are missing.
	edit(t, filepath.Join(young.dir, mapName), func(b []byte) []byte { return b[:size(young, mapName)-pieceRecord-3] })
	if v, err = Verify(t.Context(), s.dir); err != nil || len(v.Damaged) != 0 || v.Plain != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	// One that is open is left alone.
	r := openPlain(t, young, made)
	mustReadPlain(t, r, made.content)
	edit(t, filepath.Join(young.dir, plainName), flip(700))
	if v, err = Verify(t.Context(), s.dir); err != nil || len(v.Damaged) != 0 || v.Skipped != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestLayerStrays has maps without plain bytes, and plain bytes without a map, as a
// kill leaves them in the middle of an eviction.
func TestLayerStrays(t *testing.T) {
	for _, missing := range []string{plainName, mapName} {
		t.Run(missing, func(t *testing.T) {
			p := layerNo(1, 1<<20)
			s := openStore(t, t.TempDir())
			l := s.Layer(blobOf(p.content))
			fill(t, l, p.content, text("index"))
			remove(t, filepath.Join(l.dir, missing))
			if v, err := Verify(t.Context(), s.dir); err != nil || v.Indexes != 1 || len(v.Damaged) > 0 {
				t.Errorf("%+v, %v", v, err)
			}
			readPlainAtRandom(t, rand.New(rand.NewPCG(1, 1)), openPlain(t, openStore(t, s.dir).Layer(l.id), p), p.content, 10)
			other := openStore(t, t.TempDir())
			stray := other.Layer(l.id)
			fill(t, stray, p.content, text("index"))
			remove(t, filepath.Join(stray.dir, missing))
			if _, err := Prune(t.Context(), other.dir, Pruning{Limited: true}); err != nil || exists(stray.dir) {
				t.Error("it is left: ", err)
			}
		})
	}
}
