package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
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

func newSource(n int) (*source, v1.Hash) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return &source{content: b}, digestOf(b)
}

func digestOf(b []byte) v1.Hash {
	d := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(d[:])}
}

func (s *source) BlobRange(ctx context.Context, _ v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
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

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{ErrorTTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openBlob(t testing.TB, s *Store, d v1.Hash, size int, from Fetcher) *Reader {
	t.Helper()
	r, err := s.Repository("registry.example.com/a").Blob(d, int64(size), from).Open()
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
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that are not the blob", len(got))
	}
}

var sizes = []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5*chunkSize + 17, 3<<20 + 5}

func TestReader(t *testing.T) {
	for _, size := range sizes {
		for _, rangeless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, rangeless %t", size, rangeless), func(t *testing.T) {
				from, d := newSource(size)
				from.rangeless = rangeless
				s := openStore(t, t.TempDir())
				r := openBlob(t, s, d, size, from)
				random := rand.New(rand.NewPCG(3, uint64(size)))
				for range 200 {
					off := random.Int64N(int64(size) + 1)
					p := make([]byte, random.IntN(70_000))
					n, err := r.ReadAt(t.Context(), p, off)
					if err != nil && err != io.EOF {
						t.Fatal(err)
					}
					if !bytes.Equal(p[:n], from.content[off:min(off+int64(len(p)), int64(size))]) {
						t.Fatalf("%d bytes at %d differ", len(p), off)
					}
				}
				if err := iotest.TestReader(io.NewSectionReader(readerAt{t.Context(), r}, 0, int64(size)), from.content); err != nil {
					t.Fatal(err)
				}
				if !r.Verified() {
					t.Error("all of it was read, and it is not verified")
				}
				whole, err := os.ReadFile(s.blobPath(d))
				if err != nil || !bytes.Equal(whole, from.content) {
					t.Errorf("blobs/sha256 does not hold the blob: %v", err)
				}
				before, _ := from.counts()
				mustRead(t, r, from.content)
				mustRead(t, openBlob(t, openStore(t, s.Dir()), d, size, from), from.content)
				if after, _ := from.counts(); after != before {
					t.Errorf("%d requests for what was there", after-before)
				}
			})
		}
	}
}

func TestSmallReadFetchesLittle(t *testing.T) {
	from, d := newSource(10 << 20)
	r := openBlob(t, openStore(t, t.TempDir()), d, 10<<20, from)
	if _, err := r.ReadAt(t.Context(), make([]byte, 10<<10), 5<<20); err != nil {
		t.Fatal(err)
	}
	if _, sent := from.counts(); sent > 2*chunkSize {
		t.Errorf("%d bytes fetched for 10 KiB", sent)
	}
}

func TestPrefetch(t *testing.T) {
	from, d := newSource(20 << 20)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, 20<<20, from)
	r.Prefetch(0, 20<<20)
	mustRead(t, r, from.content)
	requests, sent := from.counts()
	if requests > 5 || sent != 20<<20 {
		t.Errorf("%d requests for %d bytes, want few for %d", requests, sent, 20<<20)
	}
}

// TestReadersShare has many readers at once, each of which needs all.
func TestReadersShare(t *testing.T) {
	from, d := newSource(4 << 20)
	s := openStore(t, t.TempDir())
	var group sync.WaitGroup
	for range 8 {
		r := openBlob(t, s, d, 4<<20, from)
		group.Go(func() { mustRead(t, r, from.content) })
	}
	group.Wait()
	if _, sent := from.counts(); sent != 4<<20 {
		t.Errorf("%d bytes fetched, want each once: %d", sent, 4<<20)
	}
}

func TestBodiesThatEndEarly(t *testing.T) {
	from, d := newSource(3 << 20)
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		return io.MultiReader(io.LimitReader(body, 200<<10), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
	}
	r := openBlob(t, openStore(t, t.TempDir()), d, 3<<20, from)
	r.Prefetch(0, 3<<20)
	mustRead(t, r, from.content)
}

func TestFailureThenSuccess(t *testing.T) {
	from, d := newSource(1 << 20)
	broken := errors.New("broken")
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		if request == 1 {
			return nil, broken
		}
		return body, nil
	}
	r := openBlob(t, openStore(t, t.TempDir()), d, 1<<20, from)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, broken) {
		t.Fatalf("error %v, want the source's", err)
	}
	mustRead(t, r, from.content)
}

func TestFailuresAreRemembered(t *testing.T) {
	from, d := newSource(1 << 20)
	from.serve = func(int, io.Reader) (io.Reader, error) { return nil, errors.New("broken") }
	now := time.Now()
	s, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r := openBlob(t, s, d, 1<<20, from)
	for range 10 {
		if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
			t.Fatal("no error")
		}
	}
	if requests, _ := from.counts(); requests != 1 {
		t.Errorf("%d requests within the time a failure is remembered, want 1", requests)
	}
	now = now.Add(2 * time.Second)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Fatal("no error")
	}
	if requests, _ := from.counts(); requests != 2 {
		t.Errorf("%d requests after it, want 2", requests)
	}
}

func TestReaderLeavesDownloadGoesOn(t *testing.T) {
	from, d := newSource(chunkSize * 4)
	release := make(chan struct{})
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		<-release
		return body, nil
	}
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, chunkSize*4, from)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	cancel(left)
	if _, err := r.ReadAt(ctx, make([]byte, chunkSize*2), 0); !errors.Is(err, left) {
		t.Fatalf("error %v, want the context's cause", err)
	}
	close(release)
	mustRead(t, r, from.content)
	if _, sent := from.counts(); sent != chunkSize*4 {
		t.Errorf("%d bytes fetched: what the first reader wanted was fetched again", sent)
	}
}

func TestFlippedByte(t *testing.T) {
	from, d := newSource(2 << 20)
	from.content[1<<20] ^= 1
	s := openStore(t, t.TempDir())
	for range 2 {
		r := openBlob(t, s, d, 2<<20, from)
		got, err := readAll(t, r)
		if !errors.Is(err, ErrMismatch) {
			t.Fatalf("error %v, want ErrMismatch", err)
		}
		if len(got) >= 2<<20 {
			t.Error("all bytes were handed out")
		}
		if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, ErrMismatch) {
			t.Errorf("read again: %v, want ErrMismatch", err)
		}
		if r.Verified() {
			t.Error("it counts as verified")
		}
		_ = r.Close()
	}
	if _, err := os.Stat(s.blobPath(d)); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("blobs/sha256 has it: %v", err)
	}
	// Another repository that serves the right bytes is not touched by that.
	honest, _ := newSource(2 << 20)
	r, err := s.Repository("honest.example.com/a").Blob(d, 2<<20, honest).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	mustRead(t, r, honest.content)
}

func TestWrongSize(t *testing.T) {
	from, d := newSource(1 << 20)
	r := openBlob(t, openStore(t, t.TempDir()), d, 1<<20, from)
	from.content = from.content[:700_000]
	from.rangeless = true
	if _, err := readAll(t, r); !errors.Is(err, ErrMismatch) {
		t.Errorf("a blob that is too short: %v, want ErrMismatch", err)
	}
}

// TestResume takes a copy of the directory in the middle of a download, as a
// kill would leave it, and goes on from there.
func TestResume(t *testing.T) {
	from, d := newSource(4 << 20)
	first := t.TempDir()
	s := openStore(t, first)
	r := openBlob(t, s, d, 4<<20, from)
	half := make([]byte, 3<<20)
	if _, err := r.ReadAt(t.Context(), half, 0); err != nil {
		t.Fatal(err)
	}
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	again, _ := newSource(4 << 20)
	mustRead(t, openBlob(t, openStore(t, killed), d, 4<<20, again), again.content)
	if _, sent := again.counts(); sent != 1<<20 {
		t.Errorf("%d bytes fetched after the kill, want the missing %d", sent, 1<<20)
	}
}

func TestDamageIsAMiss(t *testing.T) {
	const size = 3 << 20
	damage := map[string]func(t *testing.T, s *Store, d v1.Hash){
		"flipped byte": func(t *testing.T, s *Store, d v1.Hash) {
			edit(t, s.blobPath(d), func(b []byte) []byte { b[size/2] ^= 4; return b })
		},
		"truncated": func(t *testing.T, s *Store, d v1.Hash) {
			edit(t, s.blobPath(d), func(b []byte) []byte { return b[:size/3] })
		},
		"no sums": func(t *testing.T, s *Store, d v1.Hash) { remove(t, s.sumsPath(d)) },
		"damaged sums": func(t *testing.T, s *Store, d v1.Hash) {
			edit(t, s.sumsPath(d), func(b []byte) []byte { b[20] ^= 1; return b })
		},
		"no sums and flipped": func(t *testing.T, s *Store, d v1.Hash) {
			remove(t, s.sumsPath(d))
			edit(t, s.blobPath(d), func(b []byte) []byte { b[0] ^= 4; return b })
		},
		"gone": func(t *testing.T, s *Store, d v1.Hash) { remove(t, s.blobPath(d)) },
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			s := openStore(t, t.TempDir())
			r := openBlob(t, s, d, size, from)
			mustRead(t, r, from.content)
			_ = r.Close()
			do(t, s, d)
			mustRead(t, openBlob(t, s, d, size, from), from.content)
		})
	}
	t.Run("while it is open", func(t *testing.T) {
		from, d := newSource(size)
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		mustRead(t, r, from.content)
		edit(t, s.blobPath(d), func(b []byte) []byte { b[7] ^= 1; return b })
		mustRead(t, r, from.content)
	})
	t.Run("partial data and map", func(t *testing.T) {
		from, d := newSource(size)
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		if _, err := r.ReadAt(t.Context(), make([]byte, 2<<20), 0); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		path := s.partialPath("registry.example.com/a", d)
		edit(t, path, func(b []byte) []byte { b[100_000] ^= 1; return b })
		edit(t, path+".map", func(b []byte) []byte { b[headerSize+5] ^= 1; b[30] ^= 1; return b })
		mustRead(t, openBlob(t, s, d, size, from), from.content)
	})
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
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

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestTwoStores has two opens of one directory at once, as two processes have:
// their locks are as separate as those of processes.
func TestTwoStores(t *testing.T) {
	const size = 6 << 20
	from, d := newSource(size)
	dir := t.TempDir()
	a, b := openBlob(t, openStore(t, dir), d, size, from), openBlob(t, openStore(t, dir), d, size, from)
	var group sync.WaitGroup
	for _, r := range []*Reader{a, b} {
		group.Go(func() {
			r.Prefetch(0, size)
			mustRead(t, r, from.content)
		})
	}
	group.Wait()
	// Who comes second asks once more for the chunk that completes the blob.
	if _, sent := from.counts(); sent > size+4*chunkSize {
		t.Errorf("%d bytes fetched by two processes, want about %d", sent, size)
	}
}

func TestClose(t *testing.T) {
	from, d := newSource(1 << 20)
	from.serve = func(_ int, body io.Reader) (io.Reader, error) { return body, nil }
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := openBlob(t, s, d, 1<<20, from)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Error("a read after Close fetched")
	}
	if _, err := s.Repository("registry.example.com/a").Blob(d, 1<<20, from).Open(); err == nil {
		t.Error("a blob was opened after Close")
	}
}

func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openStore(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want mode 0700", info.Mode(), err)
	}
	from, d := newSource(100)
	mustRead(t, openBlob(t, s, d, 100, from), from.content)
	if info, err := os.Stat(s.blobPath(d)); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("blob: %v; want mode 0400", err)
	}
	for _, name := range []string{"CACHEDIR.TAG", "oci-layout", "index.json", "version"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory of another version was opened")
	}
}

func TestStream(t *testing.T) {
	for _, size := range sizes {
		from, d := newSource(size)
		from.serve = func(request int, body io.Reader) (io.Reader, error) {
			if request%2 == 1 {
				return io.MultiReader(io.LimitReader(body, 300<<10), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
			}
			return body, nil
		}
		var out bytes.Buffer
		if err := Stream(t.Context(), &out, d, int64(size), from); err != nil || !bytes.Equal(out.Bytes(), from.content) {
			t.Errorf("%d bytes: %v, %d came", size, err, out.Len())
		}
		if size == 0 {
			continue
		}
		from.content[size/2] ^= 1
		out.Reset()
		if err := Stream(t.Context(), &out, d, int64(size), from); !errors.Is(err, ErrMismatch) || out.Len() == size {
			t.Errorf("%d bytes, one flipped: %v, %d came", size, err, out.Len())
		}
	}
}
