package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLayerReaderEnds ends a reader in the middle of a span, which is made to its end
// all the same, and once for those who wait for it.
func TestLayerReaderEnds(t *testing.T) {
	p := newPlain(3 << 20)
	begun, goOn := make(chan struct{}), make(chan struct{})
	p.copies = func(_ context.Context, n int, w io.Writer, b []byte) error {
		if n > 1 {
			return inPieces(w, b)
		}
		_ = inPieces(w, b[:len(b)/2])
		close(begun)
		<-goOn
		return inPieces(w, b[len(b)/2:])
	}
	s := openStore(t, t.TempDir())
	r := openPlain(t, s.Layer(blobOf(p.content)), p)
	killed := errors.New("killed")
	ctx, kill := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		_, err := r.ReadAt(ctx, make([]byte, 10), 0)
		ended <- err
	}()
	<-begun
	go func() {
		b := make([]byte, 20)
		_, err := r.ReadAt(t.Context(), b, 0)
		if err == nil && !bytes.Equal(b, p.content[:20]) {
			err = errors.New("they are others")
		}
		ended <- err
	}()
	kill(killed)
	if err := <-ended; !errors.Is(err, killed) {
		t.Errorf("the reader that was ended: %v", err)
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	s.fetching.Wait()
	mustReadPlain(t, r, p.content)
	slices.Sort(p.made)
	if !slices.Equal(p.made, p.begins) {
		t.Errorf("%d spans were made of %d", len(p.made), len(p.begins))
	}
}

var errSpan = errors.New("no span")

// TestLayerSpanFails has spans that fail after some of their bytes, or all, have come:
// with an error, with a panic, or being shorter or longer than they should be. Nothing
// of them is kept, and the next reader has them made again.
func TestLayerSpanFails(t *testing.T) {
	for name, c := range map[string]struct {
		copies func(w io.Writer, b []byte) error
		is     error
	}{
		"error":      {func(w io.Writer, b []byte) error { return errors.Join(inPieces(w, b[:len(b)/2]), errSpan) }, errSpan},
		"wrong":      {func(w io.Writer, b []byte) error { return errors.Join(inPieces(w, make([]byte, len(b))), errSpan) }, errSpan},
		"panic":      {func(w io.Writer, b []byte) error { _ = inPieces(w, b); panic("span") }, nil},
		"too short":  {func(w io.Writer, b []byte) error { return inPieces(w, b[1:]) }, io.ErrUnexpectedEOF},
		"too long":   {func(w io.Writer, b []byte) error { return errors.Join(inPieces(w, b), inPieces(w, []byte{1})) }, io.ErrUnexpectedEOF},
		"nothing":    {func(io.Writer, []byte) error { return nil }, io.ErrUnexpectedEOF},
		"nothing up": {func(io.Writer, []byte) error { return errSpan }, errSpan},
	} {
		for _, opts := range []Options{{Now: later}, keepsNothing} {
			t.Run(name, func(t *testing.T) {
				p := newPlain(1 << 20)
				p.copies = func(_ context.Context, n int, w io.Writer, b []byte) error {
					if n == 1 {
						return c.copies(w, b)
					}
					return inPieces(w, b)
				}
				s := openStoreWith(t, t.TempDir(), opts)
				r := openPlain(t, s.Layer(blobOf(p.content)), p)
				if n, err := r.ReadAt(t.Context(), make([]byte, 10), 0); n > 0 || err == nil || (c.is != nil && !errors.Is(err, c.is)) {
					t.Errorf("%d bytes, %v", n, err)
				}
				mustReadPlain(t, r, p.content)
				mustReadPlain(t, openPlain(t, openStore(t, s.dir).Layer(blobOf(p.content)), p), p.content)
			})
		}
	}
}

// TestLayerSourcesFailApart has a reader whose source has failed: another, who waited
// for it, has a source of his own.
func TestLayerSourcesFailApart(t *testing.T) {
	good, bad := newPlain(1<<20), newPlain(1<<20)
	begun, goOn := make(chan struct{}), make(chan struct{})
	bad.copies = func(context.Context, int, io.Writer, []byte) error {
		close(begun)
		<-goOn
		return errSpan
	}
	l := openStore(t, t.TempDir()).Layer(blobOf(good.content))
	failing, other := openPlain(t, l, bad), openPlain(t, l, good)
	ended := make(chan error)
	go func() {
		_, err := failing.ReadAt(t.Context(), make([]byte, 10), 0)
		ended <- err
	}()
	<-begun
	go func() { close(goOn) }()
	mustReadPlain(t, other, good.content)
	if err := <-ended; !errors.Is(err, errSpan) {
		t.Error(err)
	}
}

// TestLayerStoreCloses closes a store while a span is made: that ends, and who reads
// has an error.
func TestLayerStoreCloses(t *testing.T) {
	p := newPlain(1 << 20)
	begun := make(chan struct{})
	p.copies = func(ctx context.Context, _ int, _ io.Writer, _ []byte) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	s := openStore(t, t.TempDir())
	r := openPlain(t, s.Layer(blobOf(p.content)), p)
	ended := make(chan error)
	go func() {
		_, err := r.ReadAt(t.Context(), make([]byte, 10), 0)
		ended <- err
	}()
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the reader had no error")
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 10), 0); err == nil {
		t.Error("one who came later had none")
	}
}

type closedSpans struct {
	*madePlain
	closed int
}

func (c *closedSpans) Close() error { c.closed++; return nil }

// TestLayerClosesItsSource closes readers, twice, while the span of one is made.
func TestLayerClosesItsSource(t *testing.T) {
	p := &closedSpans{madePlain: newPlain(1 << 20)}
	begun, goOn := make(chan struct{}), make(chan struct{})
	p.copies = func(_ context.Context, n int, w io.Writer, b []byte) error {
		if n == 1 {
			close(begun)
			<-goOn
		}
		return inPieces(w, b)
	}
	s := openStore(t, t.TempDir())
	l := s.Layer(blobOf(p.content))
	r := l.Plain(p)
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		_, _ = r.ReadAt(ctx, make([]byte, 10), 0)
		close(ended)
	}()
	<-begun
	kill()
	<-ended
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if p.closed != 0 {
		t.Error("the source was closed while a span is made of it")
	}
	close(goOn)
	s.fetching.Wait()
	if p.closed != 1 {
		t.Errorf("the source was closed %d times", p.closed)
	}
	if len(s.plains) > 0 {
		t.Error("the layer counts as read")
	}
}

// TestLayerOfAnotherIndex has plain bytes that belong to another index of the same
// table, as another version of this program makes it: in another order.
func TestLayerOfAnotherIndex(t *testing.T) {
	p := newPlain(2 << 20)
	id := LayerID{blobOf(p.content).Blob, blobOf([]byte("toc")).Blob}
	dir := t.TempDir()
	put := func(index text) *Layer {
		l := openStore(t, dir).Layer(id)
		if err := l.PutIndex(index); err != nil {
			t.Fatal(err)
		}
		return l
	}
	mustReadPlain(t, openPlain(t, put("old"), p), p.content)
	other := newPlain(2<<20 + 1)
	slices.Reverse(other.content)
	other.content = other.content[:2<<20] // of the same length
	l := put("new")
	mustReadPlain(t, openPlain(t, l, other), other.content)
	made := other.counts()
	if made == 0 {
		t.Error("nothing was made")
	}
	mustReadPlain(t, openPlain(t, l, other), other.content)
	next := openStore(t, dir).Layer(id)
	mustReadPlain(t, openPlain(t, next, other), other.content) // nobody has read the index
	if n := other.counts(); n == made {
		t.Error("what is on disk was taken for that of an index that nobody has read")
	}
	made = other.counts()
	if b, err := next.Index(); err != nil || string(b) != "new" {
		t.Fatal(b, err)
	}
	mustReadPlain(t, openPlain(t, next, other), other.content)
	if n := other.counts(); n != made {
		t.Errorf("%d spans were made that are there", n-made)
	}
}

// TestLayerFillDuringReads fills a layer that others read, who had some of it made
// before.
func TestLayerFillDuringReads(t *testing.T) {
	p := newPlain(4 << 20)
	dir := t.TempDir()
	s := openStore(t, dir)
	l := s.Layer(blobOf(p.content))
	before := openPlain(t, l, p)
	readPlainAtRandom(t, rand.New(rand.NewPCG(3, 3)), before, p.content, 5)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for random := rand.New(rand.NewPCG(4, 4)); ; {
			select {
			case <-stop:
				return
			default:
				readPlainAtRandom(t, random, before, p.content, 3)
			}
		}
	}()
	for range 5 {
		fill(t, openStore(t, dir).Layer(blobOf(p.content)), p.content, text("index"))
	}
	close(stop)
	<-stopped
	made := p.counts()
	after := openPlain(t, openStore(t, dir).Layer(blobOf(p.content)), p)
	mustReadPlain(t, after, p.content)
	if n := p.counts(); n != made {
		t.Errorf("%d spans were made after the layer was filled", n-made)
	}
}

// TestPlainReach: what is there ends where a span does that was not made.
func TestPlainReach(t *testing.T) {
	p := newPlain(1 << 20)
	s := openStore(t, t.TempDir())
	r := openPlain(t, s.Layer(blobOf(p.content)), p)
	size := int64(len(p.content))
	if got := r.Reach(10, size); got != 10 {
		t.Errorf("before anything was made it is %d", got)
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 10); err != nil {
		t.Fatal(err)
	}
	_, end := p.Span(10)
	for _, plain := range []*Plain{r, openPlain(t, openStore(t, s.dir).Layer(blobOf(p.content)), p)} {
		for _, c := range []struct{ off, limit, want int64 }{{10, size, end}, {10, 20, 20}, {end, size, end}, {size, size + 1, size}, {-1, 5, -1}} {
			if got := plain.Reach(c.off, c.limit); got != c.want {
				t.Errorf("from %d on, to %d: %d, want %d", c.off, c.limit, got, c.want)
			}
		}
	}
	if len(p.made) != 1 {
		t.Errorf("%d spans were made", len(p.made))
	}
	mustReadPlain(t, r, p.content)
	if got := r.Reach(0, size+5); got != size {
		t.Errorf("of all it is %d", got)
	}
}
