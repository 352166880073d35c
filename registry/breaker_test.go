package registry

import (
	"errors"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestBreaker: "A registry that is down is asked now and then, not by everybody."
// Requests fail at once, with the reason, and never as absence; soon after the host
// is back it is used again.
func TestBreaker(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{Retries: -1}, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		r := b.repository("a")
		manifests(b, 1, r)
		ask := func() error { _, err := r.Manifest(b.Context(), "x"); return err }
		b.client.wire.close() // so that each request has to connect
		b.pipe.Refuse()
		since := time.Now().Format(time.DateTime)
		for range downAfter {
			if err := ask(); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrDown) {
				b.Errorf("%v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got, want := b.client.Stats().Hosts[b.server.Host()].Trouble, "down since "+b.begun.UTC().Format(time.RFC3339); got != want {
			b.Errorf("the trouble is %q, want %q", got, want)
		}
		rest := firstProbe
		dials := b.pipe.Dials()
		time.Sleep(firstProbe / 2)
		for range 6 {
			// All of a crowd but one are turned away, and that one only when it is time.
			for _, want := range []int{0, 1} {
				var all sync.WaitGroup
				for range 50 {
					all.Go(func() {
						err := ask()
						if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, iofs.ErrNotExist) || statusOf(err) != 0 {
							b.Errorf("%v", err)
						}
						if errors.Is(err, ErrDown) && (!strings.Contains(err.Error(), "down since "+since) || !strings.Contains(err.Error(), "connection refused")) {
							b.Errorf("%v", err)
						}
					})
				}
				all.Wait()
				if n := b.pipe.Dials() - dials; n != want {
					b.Errorf("%d of fifty requests were sent, want %d, %s after the last", n, want, rest)
				}
				dials = b.pipe.Dials()
				if want == 0 {
					time.Sleep(rest / 2)
				}
			}
			rest = min(2*rest, maxProbe)
			time.Sleep(rest / 2)
		}
		b.pipe.Listen()
		time.Sleep(maxProbe)
		manifests(b, 1, r) // the one that is let through
		manifests(b, 50, r)
		if got := b.client.Stats().Hosts[b.server.Host()].Trouble; got != "" {
			b.Errorf("it is back, and the trouble is %q", got)
		}
	})
}

// A host that was down is back when an answer begins, however long all of that takes.
func TestBreakerAtTheHead(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{Retries: -1}, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		r := b.repository("a")
		manifests(b, 1, r)
		b.client.wire.close()
		b.pipe.Refuse()
		for range downAfter {
			if _, err := r.Manifest(b.Context(), "x"); !errors.Is(err, syscall.ECONNREFUSED) {
				b.Errorf("%v", err)
			}
		}
		b.pipe.Listen()
		b.server.Break(registrytest.Only(registrytest.Manifest, first(1, b.server.Trickle(1, 20*time.Second))))
		time.Sleep(firstProbe)
		var slow sync.WaitGroup
		slow.Go(func() { manifests(b, 1, r) })
		time.Sleep(time.Second)
		manifests(b, 10, r)
		if passed := b.passed(); passed > 5*time.Second {
			b.Errorf("they waited until %s", passed)
		}
		slow.Wait()
		if passed := b.passed(); passed < 20*time.Second {
			b.Errorf("the slow one took %s", passed)
		}
	})
}

// A request that ends in a panic gives back its place.
func TestSlotAfterAPanic(t *testing.T) {
	c := clientOf(t, Options{})
	s := c.over(panics{}, 0)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1/v2/", nil)
	for range 2 * requestsPerHost {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			resp, err := s.RoundTrip(req)
			t.Error(resp, err)
		}()
	}
	up := c.upstreams.of(req.URL)
	if n := len(up.documents); n > 0 {
		t.Errorf("%d places are taken", n)
	}
}

type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("of a transport") }

// A 404, a 503 or a connection that breaks is of a host that is up.
func TestBreakerIsNotTripped(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"not found": registrytest.Refuse(404, "MANIFEST_UNKNOWN", ""), "denied": registrytest.Refuse(403, "DENIED", ""),
		"unavailable": registrytest.Refuse(503, "UNAVAILABLE", ""), "hangs up": hangUp,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, registrytest.Options{}, Options{Retries: -1}, func(b *bubble) {
				b.server.Break(registrytest.Only(registrytest.Manifest, fault))
				r := b.repository("a")
				for range 10 * downAfter {
					if _, err := r.Manifest(b.Context(), "x"); err == nil || errors.Is(err, ErrDown) {
						b.Errorf("%v", err)
					}
				}
			})
		})
	}
}

// Of a host that does not answer, those who wait for a turn are sent away with the
// first: they do not each find out anew.
func TestBreakerSendsAwayWhoWaits(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		r := b.repository("a")
		manifests(b, 1, r)
		b.server.Forget()
		b.server.Break(registrytest.Only(registrytest.Manifest, b.server.Silent()))
		begun := time.Now()
		var all sync.WaitGroup
		var late atomic.Int64
		for range 10 * requestsPerHost {
			all.Go(func() {
				var timeout interface{ Timeout() bool }
				if _, err := r.Manifest(b.Context(), "x"); !errors.As(err, &timeout) || !timeout.Timeout() {
					b.Errorf("%v", err)
				}
				if time.Since(begun) > 31*time.Second {
					late.Add(1)
				}
			})
		}
		all.Wait()
		// A few get the places of the first ones before it is known.
		if n := b.server.Count(); n > requestsPerHost+downAfter || late.Load() > downAfter {
			b.Errorf("%d requests, and %d waited for long", n, late.Load())
		}
		b.server.Heal()
		time.Sleep(maxProbe) // or nobody got such a place, and it was found to be down just now
		manifests(b, 1, r)
		manifests(b, 10, r)
	})
}
