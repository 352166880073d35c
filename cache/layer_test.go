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
	"slices"
	"sort"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// madePlain makes the plain bytes of a layer in spans, and counts them.
type madePlain struct {
	content []byte
	begins  []int64 // where spans begin, in order
	// copies, where it is set, does what is to be done of the n-th span (from 1).
	copies func(ctx context.Context, n int, w io.Writer, b []byte) error

	mu   sync.Mutex
	made []int64 // guarded by mu; the spans that were made
}

// newPlain is of n bytes that are always the same, with holes in them, in spans of many
// lengths.
func newPlain(n int) *madePlain {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b)
	random := rand.New(rand.NewPCG(9, uint64(n)))
	for range n / (1 << 20) {
		from := random.IntN(n)
		clear(b[from:min(n, from+random.IntN(400_000))])
	}
	p := &madePlain{content: b}
	for at := 0; at < n; {
		p.begins = append(p.begins, int64(at))
		if random.IntN(3) == 0 {
			at += 1 + random.IntN(1000)
		} else {
			at += 1 + random.IntN(300_000)
		}
	}
	return p
}

func (p *madePlain) Size() int64 { return int64(len(p.content)) }

func (p *madePlain) Span(off int64) (begin, end int64) {
	i := sort.Search(len(p.begins), func(i int) bool { return p.begins[i] > off })
	if i == len(p.begins) {
		return p.begins[i-1], p.Size()
	}
	return p.begins[i-1], p.begins[i]
}

func (p *madePlain) CopySpan(ctx context.Context, w io.Writer, off int64) error {
	begin, end := p.Span(off)
	p.mu.Lock()
	p.made = append(p.made, begin)
	n := len(p.made)
	p.mu.Unlock()
	b := p.content[begin:end]
	if p.copies != nil {
		return p.copies(ctx, n, w, b)
	}
	return inPieces(w, b)
}

// inPieces writes as a decoder does.
func inPieces(w io.Writer, b []byte) error {
	_, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(b)})
	return err
}

func (p *madePlain) counts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.made)
}

// blobOf is the layer that stands for a content.
func blobOf(content []byte) LayerID { return LayerID{Blob: digestOf(content)} }

// text is an index.
type text string

func (t text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(t))
	return int64(n), err
}

func fill(t testing.TB, l *Layer, content []byte, x io.WriterTo) {
	t.Helper()
	f := l.Fill()
	if err := inPieces(f, content); err != nil {
		t.Error(err)
	}
	if err := f.Keep(x); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func openPlain(t testing.TB, l *Layer, from Spans) *Plain {
	t.Helper()
	p := l.Plain(from)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

type plainAt struct {
	ctx context.Context
	p   *Plain
}

func (r plainAt) ReadAt(p []byte, off int64) (int, error) { return r.p.ReadAt(r.ctx, p, off) }

func mustReadPlain(t testing.TB, p *Plain, want []byte) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(plainAt{t.Context(), p}, 0, p.Size()))
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that are not those of the layer", len(got))
	}
}

// readPlainAtRandom reads here and there, and compares.
func readPlainAtRandom(t testing.TB, random *rand.Rand, p *Plain, want []byte, reads int) {
	t.Helper()
	for range reads {
		off := random.Int64N(int64(len(want)))
		b := make([]byte, random.IntN(200_000))
		if random.IntN(3) == 0 {
			b = b[:min(len(b), 100)]
		}
		n, err := p.ReadAt(t.Context(), b, off)
		if !bytes.Equal(b[:n], want[off:off+int64(n)]) {
			t.Errorf("%d bytes at %d are not those of the layer", n, off)
		}
		if whole := min(int64(len(b)), int64(len(want))-off); int64(n) != whole || (err != nil) != (n < len(b)) {
			t.Errorf("%d of %d bytes at %d, %v", n, len(b), off, err)
		}
	}
}

// filesOf are the names in the directory of a layer.
func filesOf(t testing.TB, l *Layer) []string {
	t.Helper()
	entries, err := readDir(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestLayerIndex(t *testing.T) {
	s := openStore(t, t.TempDir())
	toc := blobOf(nil).Blob
	for name, id := range map[string]LayerID{"of a pass": blobOf([]byte("a")), "of a table": {blobOf([]byte("a")).Blob, toc}} {
		t.Run(name, func(t *testing.T) {
			l := s.Layer(id)
			missing := func(what string) {
				t.Helper()
				if b, err := s.Layer(id).Index(); !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("%s: %d bytes, %v", what, len(b), err)
				}
			}
			missing("before it is put")
			if err := l.PutIndex(text(name)); err != nil {
				t.Fatal(err)
			}
			if b, err := s.Layer(id).Index(); err != nil || string(b) != name {
				t.Errorf("%q, %v", b, err)
			}
			path := filepath.Join(l.dir, indexName)
			for i := range len(name) + indexTrailer {
				edit(t, path, flip(i))
				missing("damaged")
				edit(t, path, flip(i))
			}
			for n := range len(name) + indexTrailer {
				whole, _ := os.ReadFile(path)
				edit(t, path, func(b []byte) []byte { return b[:n] })
				missing("cut short")
				edit(t, path, func([]byte) []byte { return whole })
			}
			if _, err := s.Layer(id).Index(); err != nil {
				t.Error(err)
			}
			if err := l.DropIndex(); err != nil {
				t.Error(err)
			}
			missing("after it was dropped")
			if err := l.DropIndex(); err != nil {
				t.Error("a second time: ", err)
			}
		})
	}
	bad := s.Layer(LayerID{Blob: v1.Hash{Algorithm: "sha512", Hex: "../.."}})
	if err := bad.PutIndex(text("x")); err != nil {
		t.Error(err)
	}
	if _, err := bad.Index(); !errors.Is(err, iofs.ErrNotExist) {
		t.Error(err)
	}
}

var errIndex = errors.New("no index")

type badIndex struct{}

func (badIndex) WriteTo(w io.Writer) (int64, error) {
	n, _ := io.WriteString(w, "half of i")
	return int64(n), errIndex
}

// TestLayerIndexFails has an index that cannot be written for another reason than the
// disk: nothing is kept, and the caller knows.
func TestLayerIndexFails(t *testing.T) {
	s := openStore(t, t.TempDir())
	l := s.Layer(blobOf([]byte("a")))
	if err := l.PutIndex(badIndex{}); !errors.Is(err, errIndex) {
		t.Error(err)
	}
	f := l.Fill()
	_, _ = f.Write(make([]byte, 1_000_000))
	if err := f.Keep(badIndex{}); !errors.Is(err, errIndex) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if names := filesOf(t, l); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
}

// TestLayerFill fills layers of many lengths, and reads them: nothing is made.
func TestLayerFill(t *testing.T) {
	for _, size := range []int{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, plainBuffer, 5<<20 + 77} {
		p := newPlain(size)
		dir := t.TempDir()
		l := openStore(t, dir).Layer(blobOf(p.content))
		fill(t, l, p.content, text("index"))
		for range 2 {
			l := openStore(t, dir).Layer(blobOf(p.content))
			if b, err := l.Index(); err != nil || string(b) != "index" {
				t.Errorf("%q, %v", b, err)
			}
			r := openPlain(t, l, p)
			mustReadPlain(t, r, p.content) // which checks them
			mustReadPlain(t, r, p.content) // as they were checked
			if size > 0 {
				readPlainAtRandom(t, rand.New(rand.NewPCG(1, uint64(size))), r, p.content, 100)
			}
		}
		if n := p.counts(); n > 0 {
			t.Errorf("%d spans of %d bytes were made that are there", n, size)
		}
		want := []string{indexName, mapName, plainName}
		if size == 0 {
			want = want[:1]
		}
		if names := filesOf(t, l); !slices.Equal(names, want) {
			t.Errorf("%q are there", names)
		}
	}
}

// TestLayerFillHoles has long runs of zeros: they take no room.
func TestLayerFillHoles(t *testing.T) {
	content := make([]byte, 20<<20)
	for _, at := range []int{0, 7 << 20, len(content) - 1} {
		content[at] = 1
	}
	l := openStore(t, t.TempDir()).Layer(blobOf(content))
	fill(t, l, content, text("index"))
	info, err := os.Stat(filepath.Join(l.dir, plainName))
	if err != nil || info.Size() != int64(len(content)) {
		t.Fatal(info, err)
	}
	if n := bytesOnDisk(info); n > 4*pieceSize {
		t.Errorf("%d bytes of disk for three that are not zero", n)
	}
	mustReadPlain(t, openPlain(t, l, &madePlain{content: content}), content)
}

// TestLayerFillDropped ends passes before they were right, which leaves nothing.
func TestLayerFillDropped(t *testing.T) {
	p := newPlain(3 << 20)
	l := openStore(t, t.TempDir()).Layer(blobOf(p.content))
	f := l.Fill()
	_, _ = f.Write(p.content[:2<<20])
	if len(filesOf(t, l)) != 1 {
		t.Error("nothing was written")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error("a second time: ", err)
	}
	if names := filesOf(t, l); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
	mustReadPlain(t, openPlain(t, l, p), p.content)
}

// TestLayerPlain reads at random what is not there: each span is made once, whoever
// reads, and is there for the next process.
func TestLayerPlain(t *testing.T) {
	p := newPlain(6<<20 + 5)
	dir := t.TempDir()
	for i := range uint64(3) {
		l := openStore(t, dir).Layer(blobOf(p.content))
		var group sync.WaitGroup
		for k := range uint64(4) {
			group.Go(func() {
				r := l.Plain(p)
				readPlainAtRandom(t, rand.New(rand.NewPCG(i, k)), r, p.content, 60)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	mustReadPlain(t, openPlain(t, openStore(t, dir).Layer(blobOf(p.content)), p), p.content)
	made := slices.Clone(p.made)
	slices.Sort(made)
	if !slices.Equal(made, p.begins) {
		t.Errorf("%d spans were made of %d", len(made), len(p.begins))
	}
}
