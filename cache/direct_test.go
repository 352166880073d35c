package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// openDirect reads ranges of the blob of a source.
func openDirect(t *testing.T, s *Store, d v1.Hash, size int, from Fetcher) *Direct {
	t.Helper()
	direct := s.Repository(testRepository).Blob(d, int64(size), from).Direct()
	t.Cleanup(func() {
		if err := direct.Close(); err != nil {
			t.Error(err)
		}
	})
	return direct
}

// mustReadDirect reads n bytes at an offset.
func mustReadDirect(t *testing.T, d *Direct, from *source, off, n int) {
	t.Helper()
	p := make([]byte, n)
	want := from.content[off:min(off+n, len(from.content))]
	got, err := d.ReadAt(t.Context(), p, int64(off))
	if !bytes.Equal(p[:got], want) || (err != nil) != (len(want) < n) || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes at %d: %d, %v", n, off, got, err)
	}
}

// keptFiles is what there is on disk of blobs.
func keptFiles(t *testing.T, s *Store) (files []string) {
	t.Helper()
	for _, pattern := range []string{"partial/*/*", "blobs/sha256/*"} {
		found, err := filepath.Glob(filepath.Join(s.Dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// TestDirect: a range is one request of as many bytes, and nothing of it is on disk.
func TestDirect(t *testing.T) {
	const size = 10*chunkSize + 5
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	direct := openDirect(t, s, d, size, from)
	for i, at := range []struct{ off, n int }{{size - 300, 300}, {7, 1}, {chunkSize - 1, 2*chunkSize + 2}, {size - 10, 30}} {
		_, before := from.counts()
		mustReadDirect(t, direct, from, at.off, at.n)
		requests, sent := from.counts()
		if want := min(at.n, size-at.off); requests != i+1 || int(sent-before) != want {
			t.Errorf("%d requests, %d bytes for %d", requests, sent-before, want)
		}
	}
	if n, err := direct.ReadAt(t.Context(), make([]byte, 1), size); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if n, err := direct.ReadAt(t.Context(), make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("before the beginning: %d, %v", n, err)
	}
	fresh := openStore(t, t.TempDir())
	mustReadDirect(t, openDirect(t, fresh, d, size, from), from, 5, 100)
	if files := keptFiles(t, fresh); len(files) > 0 {
		t.Errorf("kept: %q", files)
	}
	if got := fresh.Stats().Fetched; got != 100 {
		t.Errorf("%d bytes count as fetched, of 100", got)
	}
}

// TestDirectOfKept: what is on disk is not asked for again, of a blob that is whole as of
// one that is not; and a small blob comes as a whole, and is kept.
func TestDirectOfKept(t *testing.T) {
	const size = 10*chunkSize + 5
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	if _, err := r.ReadAt(t.Context(), make([]byte, 10), 3*chunkSize); err != nil {
		t.Fatal(err)
	}
	mustReadDirect(t, openDirect(t, s, d, size, from), from, 3*chunkSize+20, 1000) // while it is open
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	mustReadDirect(t, openDirect(t, s, d, size, from), from, 3*chunkSize+20, 1000)
	if requests, _ := from.counts(); requests != 1 {
		t.Errorf("%d requests for a chunk that was there", requests)
	}
	mustRead(t, openBlob(t, s, d, size, from), from.content)
	before, _ := from.counts()
	mustReadDirect(t, openDirect(t, openStore(t, s.Dir()), d, size, from), from, 0, size)
	if after, _ := from.counts(); after != before {
		t.Errorf("%d requests for a blob that was there", after-before)
	}

	small, d := newSource(chunkSize)
	mustReadDirect(t, openDirect(t, s, d, chunkSize, small), small, chunkSize-300, 300)
	mustRead(t, openBlob(t, s, d, chunkSize, small), small.content)
	if requests, _ := small.counts(); requests != 1 {
		t.Errorf("%d requests for a small blob", requests)
	}
}

// TestDirectOfRangeless: "Of a source that knows no ranges each blob comes once": what was
// sent for a range is the blob, which is kept.
func TestDirectOfRangeless(t *testing.T) {
	const size = 10*chunkSize + 5
	from, d := newSource(size)
	from.rangeless = true
	s := openStore(t, t.TempDir())
	direct := openDirect(t, s, d, size, from)
	mustReadDirect(t, direct, from, size-300, 300)
	mustReadDirect(t, direct, from, 5, 2*chunkSize)
	mustRead(t, openBlob(t, s, d, size, from), from.content)
	if requests, sent := from.counts(); requests != 1 || sent != size {
		t.Errorf("%d requests, %d bytes of %d", requests, sent, size)
	}
	if _, err := os.Stat(s.blobPath(d)); err != nil {
		t.Error(err)
	}
}

// TestDirectFails: an answer that ends early is asked for again; an error is one at once, and
// so is the end of who waits.
func TestDirectFails(t *testing.T) {
	const size = 10*chunkSize + 5
	from, d := newSource(size)
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		if request == 1 {
			return io.LimitReader(body, 100), nil
		}
		return body, nil
	}
	mustReadDirect(t, openDirect(t, openStore(t, t.TempDir()), d, size, from), from, size-300, 300)
	if requests, _ := from.counts(); requests != 2 {
		t.Errorf("%d requests after one that ended early", requests)
	}

	failure := errors.New("no such blob")
	refusing, d := newSource(size)
	refusing.serve = func(int, io.Reader) (io.Reader, error) { return nil, failure }
	s := openStore(t, t.TempDir())
	if _, err := openDirect(t, s, d, size, refusing).ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, failure) {
		t.Error(err)
	}
	if requests, _ := refusing.counts(); requests != 1 {
		t.Errorf("%d requests for what is refused", requests)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("he left")
	direct := openDirect(t, s, d, size, fetcherFunc(func(asked context.Context) (io.ReadCloser, error) {
		cancel(left)
		<-asked.Done()
		return nil, asked.Err()
	}))
	if _, err := direct.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, left) {
		t.Error(err)
	}
}

// A fetcherFunc is a source that does whatever it is asked for.
type fetcherFunc func(ctx context.Context) (io.ReadCloser, error)

func (f fetcherFunc) BlobRange(ctx context.Context, _ v1.Hash, off, _ int64) (io.ReadCloser, int64, error) {
	body, err := f(ctx)
	return body, off, err
}
