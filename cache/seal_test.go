package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

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
	mustRead(t, openBlobOf(t, s, "honest.example.com/a", d, 2<<20, honest), honest.content)
	if n := s.Stats().Mismatches; n != 2 {
		t.Errorf("%d mismatches are counted, want 2", n)
	}
}

// A source that has blobs from several places is told of one that was wrong.
func TestDispute(t *testing.T) {
	good, d := newSource(2 << 20)
	bad, _ := newSource(2 << 20)
	bad.content[1<<20] ^= 1
	both := &disputed{source: bad, other: good}
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, 2<<20, both)
	if _, err := readAll(t, r); !errors.Is(err, ErrMismatch) {
		t.Fatalf("error %v, want ErrMismatch", err)
	}
	_ = r.Close()
	mustRead(t, openBlob(t, s, d, 2<<20, both), good.content)

	both = &disputed{source: bad, other: good}
	if err := Stream(t.Context(), io.Discard, d, 2<<20, both); !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want ErrMismatch", err)
	}
	if err := Stream(t.Context(), io.Discard, d, 2<<20, both); err != nil {
		t.Error(err)
	}
}

// disputed is a source until that is wrong, then another.
type disputed struct {
	*source
	other *source

	mu    sync.Mutex
	wrong bool // guarded by mu
}

func (s *disputed) Dispute(v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = true
}

func (s *disputed) BlobRange(ctx context.Context, d v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	wrong := s.wrong
	s.mu.Unlock()
	if wrong {
		return s.other.BlobRange(ctx, d, off, n)
	}
	return s.source.BlobRange(ctx, d, off, n)
}

func TestWrongSize(t *testing.T) {
	from, d := newSource(1 << 20)
	for name, size := range map[string]int{"too long": 1<<20 + 1, "too short": 1<<20 - 1} {
		s := openStore(t, t.TempDir())
		if got, err := readAll(t, openBlob(t, s, d, size, from)); !errors.Is(err, ErrMismatch) || len(got) == size {
			t.Errorf("a size that is %s: %v, want ErrMismatch", name, err)
		}
	}
}

func TestEmptyBlob(t *testing.T) {
	from, d := newSource(0)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, 0, from)
	mustRead(t, r, nil)
	if !r.Verified() {
		t.Error("it is not verified")
	}
	if _, err := os.Stat(s.blobPath(d)); err != nil {
		t.Error(err)
	}
	_, other := newSource(1)
	if _, err := s.Repository(testRepository).Blob(other, 0, from).Open(t.Context()); !errors.Is(err, ErrMismatch) {
		t.Errorf("nothing, under the digest of something: %v, want ErrMismatch", err)
	}
	if open := s.Stats().Open; open != 1 {
		t.Errorf("%d blobs are open, want 1", open)
	}
}

// TestOtherRepositoryCompletes has two repositories with one blob, each of which
// fetches what it is read of: when one has it whole the other has it too.
func TestOtherRepositoryCompletes(t *testing.T) {
	const size = 1 << 20
	first, d := newSource(size)
	second, _ := newSource(size)
	s := openStore(t, t.TempDir())
	a, b := openBlobOf(t, s, "a", d, size, first), openBlobOf(t, s, "b", d, size, second)
	mustReadAt(t, a, first.content, 0, size/2)
	mustReadAt(t, b, first.content, 0, size/4)
	mustRead(t, a, first.content)
	mustRead(t, b, first.content)
	if _, sent := second.counts(); sent != size/4 {
		t.Errorf("%d bytes fetched of what was there", sent)
	}
	if !b.Verified() {
		t.Error("it is not verified for the second repository")
	}
	if _, err := os.Stat(s.partialPath("b", d)); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the second repository's part is left over: %v", err)
	}
}

// TestBothRepositoriesComplete has the last chunk of a blob under way in two.
func TestBothRepositoriesComplete(t *testing.T) {
	const size = 1 << 20
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	a, b := openBlobOf(t, s, "a", d, size, from), openBlobOf(t, s, "b", d, size, from)
	for _, r := range []*Reader{a, b} {
		mustReadAt(t, r, from.content, 0, size-chunkSize)
	}
	unlock, err := s.lockState(d) // neither can move it
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	for _, r := range []*Reader{a, b} {
		go func() { mustRead(t, r, from.content); done <- struct{}{} }()
	}
	unlock()
	<-done
	<-done
	if file, err := os.ReadFile(s.blobPath(d)); err != nil || !bytes.Equal(file, from.content) {
		t.Errorf("the blob is not there: %v", err)
	}
	edit(t, s.blobPath(d), flip(0))
	mustRead(t, a, from.content)
	mustRead(t, b, from.content)
}

// TestDroppedByAnother has two processes with one blob of a repository. One was
// sent wrong bytes and drops it; the other, whose source is right, goes on.
func TestDroppedByAnother(t *testing.T) {
	const size = 2 << 20
	wrong, d := newSource(size)
	wrong.content[5] ^= 1
	right, _ := newSource(size)
	dir := t.TempDir()
	a := openBlob(t, openStore(t, dir), d, size, wrong)
	if _, err := a.ReadAt(t.Context(), make([]byte, size/2), 0); err != nil {
		t.Fatal(err)
	}
	b := openBlob(t, openStore(t, dir), d, size, right) // with the wrong half
	mustReadAt(t, b, right.content, size/2, chunkSize)
	if _, err := readAll(t, a); !errors.Is(err, ErrMismatch) {
		t.Fatalf("error %v, want ErrMismatch", err)
	}
	// What b had is not trusted any more, as soon as it has to ask.
	mustReadAt(t, b, right.content, size-2*chunkSize, chunkSize)
	mustRead(t, b, right.content)
	if !b.Verified() {
		t.Error("it is not verified")
	}
}

// TestCannotBeKept has a verified blob that cannot be moved: it is right all the
// same.
func TestCannotBeKept(t *testing.T) {
	const size = 20 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, from.content, 0, size/2)
	blobs := filepath.Join(s.Dir(), "blobs", "sha256")
	if err := os.Rename(blobs, blobs+".away"); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, from.content)
	if !r.Verified() {
		t.Error("it is not verified")
	}
	edit(t, s.partialPath(testRepository, d), flip(100))
	mustRead(t, r, from.content)
	_ = r.Close()
	if err := os.Rename(blobs+".away", blobs); err != nil {
		t.Fatal(err)
	}
	s.fetching.Wait()
	_, before := from.counts()
	mustRead(t, openBlob(t, s, d, size, from), from.content)
	if _, sent := from.counts(); sent != before {
		t.Errorf("%d bytes were fetched again", sent-before)
	}
	if _, err := os.Stat(s.blobPath(d)); err != nil {
		t.Errorf("it is not kept when it can be: %v", err)
	}
}
