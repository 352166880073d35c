package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wholeBody says that it is all of a blob.
type wholeBody struct{ io.Reader }

func (wholeBody) Close() error { return nil }
func (wholeBody) Whole() bool  { return true }

// TestFirstAsksAlone has several ranges of a blob wanted at once: nothing is known of
// its source, so one is asked for. When the head of its answer has come the others are, while its
// body is still on its way.
func TestFirstAsksAlone(t *testing.T) {
	const size = 8 << 20
	synctest.Test(t, func(t *testing.T) {
		honest, d := newSource(size)
		blocked, head := newGate(), make(chan struct{})
		var mu sync.Mutex
		asked := 0
		from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
			mu.Lock()
			asked++
			first := asked == 1
			mu.Unlock()
			body := bytes.NewReader(honest.content[off : off+n])
			if first {
				<-head
				return io.MultiReader(blocked, body), off, nil
			}
			return body, off, nil
		})
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		for off := int64(0); off < size; off += 1 << 20 {
			prefetch(r, off, 1<<20)
		}
		synctest.Wait()
		if asked != 1 {
			t.Errorf("%d requests before anything is known of the source", asked)
		}
		close(head)
		mustReadAt(t, r, honest.content, 4<<20, 4<<20) // those whose bodies are not held back
		synctest.Wait()
		if asked != 8 {
			t.Errorf("%d requests, want one for each of 8 ranges", asked)
		}
		blocked.pass()
		mustRead(t, r, honest.content)
		_ = r.Close()
		_ = s.Close()
	})
}

// rangedBody says that its source has ranges of every blob.
type rangedBody struct{ io.Reader }

func (rangedBody) Close() error { return nil }
func (rangedBody) Ranged() bool { return true }

// TestRangesAreExpected has a source that says that it has ranges of every blob: of the
// next blob of the repository several are asked for at once, and again one after it sent
// a whole blob, or nothing for long.
func TestRangesAreExpected(t *testing.T) {
	const size = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		honest, d := newSource(size)
		var mu sync.Mutex
		var release chan struct{}
		asked, whole := 0, false
		from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
			mu.Lock()
			asked++
			wait := release
			mu.Unlock()
			<-wait
			if whole {
				return wholeBody{bytes.NewReader(honest.content)}, 0, nil
			}
			return rangedBody{bytes.NewReader(honest.content[off : off+n])}, off, nil
		})
		dir := t.TempDir()
		s := openStoreWith(t, dir, Options{})
		// Each round reads the blob from nothing.
		round := func(repository string, want int) {
			t.Helper()
			mu.Lock()
			asked, release = 0, make(chan struct{})
			mu.Unlock()
			r := openBlobOf(t, s, repository, d, size, from)
			for off := int64(0); off < size; off += 1 << 20 {
				prefetch(r, off, 1<<20)
			}
			synctest.Wait()
			if asked != want {
				t.Errorf("%d requests at once, want %d", asked, want)
			}
			close(release)
			mustRead(t, r, honest.content)
			_ = r.Close()
			synctest.Wait()
			if err := removeFiles(s.blobPath(d), s.sumsPath(d)); err != nil {
				t.Fatal(err)
			}
		}
		round("a", 1)
		round("a", 4)
		round("b", 1)
		time.Sleep(goodRanges)
		round("a", 1)
		whole = true
		round("a", 4) // with whole blobs
		whole = false
		round("a", 1)
		round("a", 1)
		time.Sleep(goodWhole)
		round("a", 1)
		round("a", 4)
		_ = s.Close()
	})
}

// TestFirstIsSilent has a source that does not answer the first: the others ask after a
// while.
func TestFirstIsSilent(t *testing.T) {
	const size = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		honest, d := newSource(size)
		release := make(chan struct{})
		var mu sync.Mutex
		asked := 0
		from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
			mu.Lock()
			asked++
			first := asked == 1
			mu.Unlock()
			if first {
				<-release
				return wholeBody{bytes.NewReader(honest.content)}, 0, nil
			}
			return bytes.NewReader(honest.content[off : off+n]), off, nil
		})
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		prefetch(r, 0, 1<<20)
		synctest.Wait()
		begun := time.Now()
		mustReadAt(t, r, honest.content, 2<<20, 2<<20)
		if waited := time.Since(begun); waited != maxProbe {
			t.Errorf("waited for %s", waited)
		}
		close(release) // what comes now is the whole blob, and welcome
		synctest.Wait()
		mustRead(t, r, honest.content)
		if asked != 2 {
			t.Errorf("%d requests", asked)
		}
		_ = r.Close()
		_ = s.Close()
	})
}

// TestFirstFails has the first fail: that answers for all who want the same, but what
// failed ahead of a reader is asked for once more by one who needs it.
func TestFirstFails(t *testing.T) {
	const size = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		_, d := newSource(size)
		release := make(chan struct{})
		var mu sync.Mutex
		asked := 0
		from := fetch(func(context.Context, int64, int64) (io.Reader, int64, error) {
			mu.Lock()
			asked++
			mu.Unlock()
			<-release
			return nil, 0, errInjected
		})
		s := openStoreWith(t, t.TempDir(), Options{})
		r := openBlob(t, s, d, size, from)
		for off := int64(0); off < size/2; off += 1 << 20 {
			prefetch(r, off, 1<<20)
		}
		synctest.Wait()
		var group sync.WaitGroup
		for off := int64(size / 2); off < size; off += 256 << 10 {
			group.Go(func() {
				if _, err := r.ReadAt(t.Context(), make([]byte, 1), off); !errors.Is(err, errInjected) {
					t.Errorf("error %v", err)
				}
			})
		}
		synctest.Wait()
		if asked != 1 {
			t.Errorf("%d requests before the first was answered", asked)
		}
		close(release)
		group.Wait()
		if asked != 2 {
			t.Errorf("%d requests of a source that fails, want one ahead and one that was needed", asked)
		}
		_ = r.Close()
		_ = s.Close()
	})
}

// TestOtherHasAPart has another process lease a part of a blob: its source knows ranges,
// so the rest is asked for while that one is at it.
func TestOtherHasAPart(t *testing.T) {
	const size = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		from, d := newSource(size)
		s := openStore(t, t.TempDir())
		r := openBlob(t, s, d, size, from)
		other, err := os.OpenFile(s.partialPath(testRepository, d)+".map", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		at, n := recordRange(span{0, 10})
		if ok, err := tryLock(other, at, n); err != nil || !ok {
			t.Fatal(err)
		}
		begun := time.Now()
		var group sync.WaitGroup
		for off := int64(1 << 20); off < size; off += 1 << 20 {
			group.Go(func() { mustReadAt(t, r, from.content, off, 1<<20) })
		}
		group.Wait()
		if waited := time.Since(begun); waited > maxPoll {
			t.Errorf("waited for %s", waited)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		mustRead(t, r, from.content)
		_ = r.Close()
		_ = s.Close()
	})
}

// TestOtherBringsAll has another process bring all of a blob in order, slowly: whoever
// waits for its end waits as long as it goes on, and asks for nothing.
func TestOtherBringsAll(t *testing.T) {
	const size = 4 << 20
	synctest.Test(t, func(t *testing.T) {
		from, d := newSource(size)
		from.rangeless = true
		from.serve = func(_ int, body io.Reader) (io.Reader, error) { return &slowly{body, 2 * time.Second}, nil }
		dir := t.TempDir()
		a, b := openStore(t, dir), openStore(t, dir)
		first, second := openBlob(t, a, d, size, from), openBlob(t, b, d, size, from)
		prefetch(first, 0, 1)
		synctest.Wait()
		mustReadAt(t, second, from.content, size-100, 100)
		mustReadAt(t, first, from.content, size-100, 100)
		if requests, sent := from.counts(); requests != 1 || sent != size {
			t.Errorf("%d requests for %d bytes of %d", requests, sent, size)
		}
		for _, r := range []*Reader{first, second} {
			mustRead(t, r, from.content)
			_ = r.Close()
		}
		_, _ = a.Close(), b.Close()
	})
}

// slowly waits before each read.
type slowly struct {
	io.Reader
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause) // of the bubble's clock
	return s.Reader.Read(p)
}

// TestUnkeptFirstAsksAlone is the same for what is not kept: the body of the whole blob
// by which it was found out is read to its end.
func TestUnkeptFirstAsksAlone(t *testing.T) {
	const size = 10 * windowSize
	from, d := newSource(size)
	from.rangeless = true
	s := openStoreWith(t, t.TempDir(), keepsNothing)
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content)
	if requests, sent := from.counts(); requests != 1 || sent != size {
		t.Errorf("%d requests for %d bytes of %d", requests, sent, size)
	}
}
