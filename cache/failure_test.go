package cache

import (
	"errors"
	"io"
	"testing"
	"time"
)

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

// TestFailuresAreRemembered has readers that stay, and ones that open, fail and
// close, as many a cat does.
func TestFailuresAreRemembered(t *testing.T) {
	for name, stay := range map[string]bool{"by a reader": true, "by the store": false} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(1 << 20)
			works := false
			from.serve = func(_ int, body io.Reader) (io.Reader, error) {
				if works {
					return body, nil
				}
				return nil, errors.New("broken")
			}
			now := time.Now()
			s := openStoreWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
			fails := func() {
				t.Helper()
				for range 10 {
					r := openBlob(t, s, d, 1<<20, from)
					if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
						t.Fatal("no error")
					}
					if !stay {
						_ = r.Close()
					}
				}
			}
			fails()
			if requests, _ := from.counts(); requests != 1 {
				t.Errorf("%d requests within the time a failure is remembered, want 1", requests)
			}
			now = now.Add(2 * time.Second)
			fails()
			if requests, _ := from.counts(); requests != 2 {
				t.Errorf("%d requests after it, want 2", requests)
			}
			now, works = now.Add(2*time.Second), true
			mustRead(t, openBlob(t, s, d, 1<<20, from), from.content)
			if n := len(s.failed); n != 0 {
				t.Errorf("%d failures are remembered across a success", n)
			}
		})
	}
}
