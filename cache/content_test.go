package cache

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
)

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

// TestHitWaitsForNobody has the disk busy with the end of a blob, and then with
// another blob: what is there is read meanwhile, and what is not is opened.
func TestHitWaitsForNobody(t *testing.T) {
	const size = 4 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, from.content, 0, size-chunkSize)
	unlock, err := s.lockState(d)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { mustReadAt(t, r, from.content, size-chunkSize, chunkSize) }) // cannot be made whole
	group.Go(func() { mustRead(t, openBlobOf(t, s, "b", d, size, from), from.content) })
	for range 1000 {
		mustReadAt(t, r, from.content, chunkSize, chunkSize)
	}
	other := digestOf(from.content[:size/2])
	mustRead(t, openBlob(t, s, other, size/2, from), from.content[:size/2])
	unlock()
	group.Wait()
}

// TestReadAfterClose is a mistake of the caller, and costs the cache nothing.
func TestReadAfterClose(t *testing.T) {
	const size = 3 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content)
	s.fetching.Wait()
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	prefetch(r, 0, size)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Error("a closed blob was read")
	}
	before, _ := from.counts()
	mustRead(t, openBlob(t, s, d, size, from), from.content)
	if after, _ := from.counts(); after != before {
		t.Error("it was fetched again")
	}
}
