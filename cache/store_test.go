package cache

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
)

func TestClose(t *testing.T) {
	from, d := newSource(1 << 20)
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
	if _, err := s.Repository(testRepository).Blob(d, 1<<20, from).Open(t.Context()); err == nil {
		t.Error("a blob was opened after Close")
	}
}

// TestCloseEndsWhatWaits has readers wait for a silent source.
func TestCloseEndsWhatWaits(t *testing.T) {
	const size = 1 << 20
	_, d := newSource(size)
	asked := make(chan struct{}, 100)
	silent := fetch(func(ctx context.Context, _, _ int64) (io.Reader, int64, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, 0, ctx.Err()
	})
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, silent)
	prefetch(r, size/2, size/2)
	var group sync.WaitGroup
	for i := range int64(8) {
		group.Go(func() {
			if _, err := r.ReadAt(context.Background(), make([]byte, 1), i*chunkSize); !errors.Is(err, errClosed) {
				t.Errorf("error %v, want errClosed", err)
			}
		})
	}
	for range 9 {
		<-asked
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if n := s.Stats().Active; n != 0 {
		t.Errorf("%d downloads are under way", n)
	}
}

// TestOpenTogether opens and closes a blob from all sides while it is fetched:
// its state is shared, and gone at the end.
func TestOpenTogether(t *testing.T) {
	const size = 1 << 20
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for off := int64(0); off < size; off += size / 32 {
				r, err := s.Repository(testRepository).Blob(d, size, from).Open(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mustReadAt(t, r, from.content, off, size/32)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	s.fetching.Wait()
	if _, sent := from.counts(); sent != size {
		t.Errorf("%d bytes fetched, want each once: %d", sent, size)
	}
	if open := s.Stats().Open; open != 0 {
		t.Errorf("%d blobs are open", open)
	}
}
