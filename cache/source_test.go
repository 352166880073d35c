package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// source serves one blob and counts what is asked of it.
type source struct {
	content   []byte
	rangeless bool
	// serve, where it is set, replaces the body of the n-th request (from 1).
	serve func(request int, body io.Reader) (io.Reader, error)

	mu       sync.Mutex
	requests int
	sent     int64
}

// newSource returns a source of n bytes that are always the same.
func newSource(n int) (*source, v1.Hash) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return &source{content: b}, digestOf(b)
}

func digestOf(b []byte) v1.Hash {
	d := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(d[:])}
}

func (s *source) BlobRange(_ context.Context, _ v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	s.requests++
	request := s.requests
	s.mu.Unlock()
	if s.rangeless {
		off, n = 0, int64(len(s.content))
	}
	var body io.Reader = bytes.NewReader(s.content[off:min(off+n, int64(len(s.content)))])
	if s.serve != nil {
		var err error
		if body, err = s.serve(request, body); err != nil {
			return nil, 0, err
		}
	}
	return &counted{body, s}, off, nil
}

type counted struct {
	io.Reader
	source *source
}

func (c *counted) Whole() bool { return c.source.rangeless }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.source.mu.Lock()
	c.source.sent += int64(n)
	c.source.mu.Unlock()
	return n, err
}

func (c *counted) Close() error { return nil }

func (s *source) counts() (requests int, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.sent
}

// A gate holds bodies back until it is opened, and tells when one waits.
type gate struct {
	waits, open chan struct{}
	first, once sync.Once
}

func newGate() *gate { return &gate{waits: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) pass() { g.once.Do(func() { close(g.open) }) }

// Read ends when the gate is opened.
func (g *gate) Read([]byte) (int, error) {
	g.first.Do(func() { close(g.waits) })
	<-g.open
	return 0, io.EOF
}

// fetch is a Fetcher that is a function.
type fetch func(ctx context.Context, off, n int64) (io.Reader, int64, error)

func (f fetch) BlobRange(ctx context.Context, _ v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	body, start, err := f(ctx, off, n)
	if err != nil {
		return nil, 0, err
	}
	if closer, ok := body.(io.ReadCloser); ok {
		return closer, start, nil
	}
	return io.NopCloser(body), start, nil
}

// zeros is a source of blobs of any size that are nothing but zeros.
var zeros = fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
	return io.LimitReader(zeroReader{}, n), off, nil
})

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// later is a clock by which every file has been left alone for long.
func later() time.Time { return time.Now().Add(time.Hour) }

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	return openStoreWith(t, dir, Options{ErrorTTL: time.Nanosecond, Now: later})
}

func openStoreWith(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// testRepository is where the blobs of openBlob are.
const testRepository = "registry.example.com/a"

func openBlob(t testing.TB, s *Store, d v1.Hash, size int, from Fetcher) *Reader {
	t.Helper()
	return openBlobOf(t, s, testRepository, d, size, from)
}

func openBlobOf(t testing.TB, s *Store, repository string, d v1.Hash, size int, from Fetcher) *Reader {
	t.Helper()
	r, err := s.Repository(repository).Blob(d, int64(size), from).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

type readerAt struct {
	ctx context.Context
	r   *Reader
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.r.ReadAt(r.ctx, p, off) }

func readAll(t testing.TB, r *Reader) ([]byte, error) {
	t.Helper()
	return io.ReadAll(io.NewSectionReader(readerAt{t.Context(), r}, 0, r.Size()))
}

func mustRead(t testing.TB, r *Reader, want []byte) {
	t.Helper()
	got, err := readAll(t, r)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that are not the blob", len(got))
	}
}

// prefetch starts to fetch all that is missing of the n bytes at off.
func prefetch(r *Reader, off, n int64) {
	for end := off + n; off < end; {
		off, _ = r.Prefetch(off, end-off, func() {})
	}
}

// mustReadAt reads n bytes at off.
func mustReadAt(t testing.TB, r *Reader, want []byte, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	if _, err := r.ReadAt(t.Context(), p, off); err != nil {
		t.Error(err)
	} else if !bytes.Equal(p, want[off:off+n]) {
		t.Errorf("%d bytes at %d are not those of the blob", n, off)
	}
}

// edit changes a file in place, as damage does.
func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip returns a change of one byte.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 4; return b }
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
