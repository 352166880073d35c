package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestTwoStores has two opens of one directory at once, as two processes have:
// their locks are as separate as those of processes.
func TestTwoStores(t *testing.T) {
	const size = 6 << 20
	for name, rangeless := range map[string]bool{"ranges": false, "rangeless": true} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			from.rangeless = rangeless
			dir := t.TempDir()
			a, b := openBlob(t, openStore(t, dir), d, size, from), openBlob(t, openStore(t, dir), d, size, from)
			var group sync.WaitGroup
			for _, r := range []*Reader{a, b} {
				group.Go(func() {
					prefetch(r, 0, size)
					mustRead(t, r, from.content)
				})
			}
			group.Wait()
			if _, sent := from.counts(); sent != size {
				t.Errorf("%d bytes fetched by two processes, want each once: %d", sent, size)
			}
		})
	}
}

// TestLeaseIsTakenOver has another process lease a chunk and end without it.
func TestLeaseIsTakenOver(t *testing.T) {
	const size = 4 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	other := leaseElsewhere(t, s, d)
	read := make(chan struct{})
	go func() { mustRead(t, r, from.content); close(read) }()
	if err := other.Close(); err != nil { // as its end would
		t.Fatal(err)
	}
	<-read
}

// leaseElsewhere leases a blob as another process would, until the file is
// closed.
func leaseElsewhere(t *testing.T, s *Store, d v1.Hash) *os.File {
	t.Helper()
	other, err := os.OpenFile(s.partialPath(testRepository, d)+".map", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(other, headerSize, 1<<40); err != nil || !ok {
		t.Skip("no locks between two opens of a file: ", err)
	}
	return other
}

// TestLeaseOfOneThatIsStopped has another process lease a chunk and bring nothing:
// after a few seconds the same is fetched without keeping it. A wait ends at once when
// the store does.
func TestLeaseOfOneThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 * chunkSize
		from, d := newSource(size)
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		other := leaseElsewhere(t, s, d)
		defer func() { _ = other.Close() }()
		began := time.Now() // of the bubble's clock
		mustRead(t, r, from.content)
		if waited := time.Since(began); waited > 2*maxLease {
			t.Errorf("it took %s", waited)
		}
		_ = r.Close()
		r = openBlobOf(t, s, "b", d, size, from)
		second, err := os.OpenFile(s.partialPath("b", d)+".map", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = second.Close() }()
		if ok, err := tryLock(second, headerSize, 1<<40); err != nil || !ok {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			_, err := r.ReadAt(t.Context(), make([]byte, 1), 0)
			failed <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, errClosed) {
			t.Errorf("error %v, want errClosed", err)
		}
	})
}

// TestStateOfOneThatIsStopped has another process hold the lock of a blob's state and
// do nothing: the blob is read without keeping it.
func TestStateOfOneThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 * chunkSize
		from, d := newSource(size)
		s := openStore(t, t.TempDir())
		at, err := stateByte(d)
		if err != nil {
			t.Fatal(err)
		}
		unlock, locked, err := tryLockExclusive(filepath.Join(s.dir, lockName), at)
		if err != nil || !locked {
			t.Fatal(err)
		}
		began := time.Now()
		r := openBlob(t, s, d, size, from)
		mustRead(t, r, from.content)
		if waited := time.Since(began); waited > 2*maxStateWait {
			t.Errorf("it took %s", waited)
		}
		unlock()
		_ = r.Close()
		s.fetching.Wait()
		mustRead(t, openBlob(t, s, d, size, from), from.content)
		if !exists(s.blobPath(d)) {
			t.Error("it is not kept afterwards")
		}
	})
}

// TestRangelessWaitsForRanges has one source that forgets in the middle that it
// knows ranges: the stream of all does not write over what is under way.
func TestRangelessWaitsForRanges(t *testing.T) {
	const size = 64 * chunkSize
	honest, d := newSource(size)
	blocked := newGate()
	var mu sync.Mutex
	first := true
	from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
		mu.Lock()
		defer mu.Unlock()
		if first {
			first = false
			return io.MultiReader(blocked, bytes.NewReader(honest.content[off:off+n])), off, nil
		}
		return bytes.NewReader(honest.content), 0, nil
	})
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	var group sync.WaitGroup
	group.Go(func() { mustReadAt(t, r, honest.content, 10*chunkSize, 3*chunkSize) })
	<-blocked.waits
	group.Go(func() { mustReadAt(t, r, honest.content, 40*chunkSize, 100) })
	group.Go(func() { mustRead(t, r, honest.content) })
	blocked.pass()
	group.Wait()
	if !r.Verified() {
		t.Error("it is not verified")
	}
}
