package cache

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func TestPrefetch(t *testing.T) {
	from, d := newSource(20 << 20)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, 20<<20, from)
	prefetch(r, 0, 20<<20)
	mustRead(t, r, from.content)
	requests, sent := from.counts()
	if requests > 5 || sent != 20<<20 {
		t.Errorf("%d requests for %d bytes, want few for %d", requests, sent, 20<<20)
	}
}

// TestSilentSourceStopsNoOther has more readers hang on one registry than any
// bound on downloads there may be.
func TestSilentSourceStopsNoOther(t *testing.T) {
	const size = 1 << 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{}, size/chunkSize)
	silent := fetch(func(ctx context.Context, _, _ int64) (io.Reader, int64, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, 0, ctx.Err()
	})
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	hung := openBlobOf(t, s, "silent.example.com/a", d, size, silent)
	for i := range int64(size / chunkSize) {
		go func() { _, _ = hung.ReadAt(ctx, make([]byte, 1), i*chunkSize) }()
	}
	for range size / chunkSize {
		<-asked // all of them are under way
	}
	mustRead(t, openBlob(t, s, d, size, from), from.content)
}

// TestPrefetchFailsForNobody has what was only wanted ahead fail once: the reader
// who comes for it later does not hear of it.
func TestPrefetchFailsForNobody(t *testing.T) {
	const size = 1 << 20
	from, d := newSource(size)
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		if request == 1 {
			return nil, errors.New("broken")
		}
		return body, nil
	}
	s := openStoreWith(t, t.TempDir(), Options{ErrorTTL: time.Hour})
	r := openBlob(t, s, d, size, from)
	failed := make(chan struct{})
	if _, started := r.Prefetch(0, size, func() { close(failed) }); !started {
		t.Fatal("nothing was started")
	}
	<-failed
	mustRead(t, r, from.content)
}

// TestPrefetchDoesNotStorm asks ahead again and again of a source that fails.
func TestPrefetchDoesNotStorm(t *testing.T) {
	from, d := newSource(1 << 20)
	from.serve = func(int, io.Reader) (io.Reader, error) { return nil, errors.New("broken") }
	now := time.Now()
	s := openStoreWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	r := openBlob(t, s, d, 1<<20, from)
	for range 100 { // who asks ahead and leaves
		failed := make(chan struct{})
		if _, started := r.Prefetch(0, 1<<20, func() { close(failed) }); started {
			<-failed
		}
	}
	if requests, _ := from.counts(); requests > 1 {
		t.Errorf("%d requests ahead within the time a failure is remembered", requests)
	}
	for range 100 {
		prefetch(r, 0, 1<<20)
		if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
			t.Fatal("no error")
		}
	}
	if requests, _ := from.counts(); requests > 2 {
		t.Errorf("%d requests within the time a failure is remembered", requests)
	}
}

// TestAheadAloneDoesNotStorm has readers that come and go ask ahead in a blob of
// which nobody reads: a program that goes through an archive fails before it.
func TestAheadAloneDoesNotStorm(t *testing.T) {
	from, d := newSource(1 << 20)
	broken := true
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		if broken {
			return nil, errors.New("broken")
		}
		return body, nil
	}
	now := time.Now()
	s := openStoreWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ask := func() {
		t.Helper()
		for range 20 {
			r := openBlob(t, s, d, 1<<20, from)
			failed := make(chan struct{})
			if _, started := r.Prefetch(0, 1<<20, func() { close(failed) }); started {
				<-failed
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	if requests, _ := from.counts(); requests != 1 {
		t.Errorf("%d requests within the time a failure is remembered, want 1", requests)
	}
	now = now.Add(2 * time.Second)
	ask()
	if requests, _ := from.counts(); requests != 1 {
		t.Errorf("%d requests after it, before anybody reads, want 1", requests)
	}
	broken = false
	mustRead(t, openBlob(t, s, d, 1<<20, from), from.content)
}
