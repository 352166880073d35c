package registry

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestPause: "A registry that wants to be left alone is." What one request is told
// goes for all to the host, of any kind.
func TestPause(t *testing.T) {
	for name, retryAfter := range map[string]func() string{
		"seconds": func() string { return "5" },
		"date":    func() string { return time.Now().Add(5 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
					b.server.PutManifest("a", "x", imageType, []byte("{}"))
					d := b.server.PutBlob("a", someBytes(100))
					r := b.repository("a")
					manifests(b, 1, r)
					b.server.Forget()
					b.server.Break(registrytest.Only(registrytest.Manifest, first(1, func(w http.ResponseWriter, req *http.Request, q registrytest.Request, next http.HandlerFunc) {
						wants(status, retryAfter())(w, req, q, next)
					})))
					begun := time.Now()
					var all sync.WaitGroup
					ask := func(who func(context.Context) error) {
						all.Go(func() {
							if err := who(b.Context()); err != nil {
								b.Errorf("%v", err)
							}
						})
					}
					ask(func(ctx context.Context) error { _, err := r.Manifest(ctx, "x"); return err })
					synctest.Wait()
					for range 10 {
						ask(func(ctx context.Context) error { return look(ctx, r, d) })
					}
					synctest.Wait()
					for _, hurried := range []func(context.Context) error{
						func(ctx context.Context) error { _, err := r.Manifest(ctx, "x"); return err },
						func(ctx context.Context) error { _, _, err := r.BlobRange(ctx, d, 0, 1); return err },
					} {
						ctx, end := context.WithTimeout(b.Context(), 4*time.Second)
						err := hurried(ctx)
						if statusOf(err) != status || time.Since(begun) != 0 ||
							!strings.Contains(err.Error(), "slow down") || !strings.Contains(err.Error(), "left alone for 5s") {
							b.Errorf("who has no time: %v after %s", err, time.Since(begun))
						}
						end()
					}
					time.Sleep(4900 * time.Millisecond)
					synctest.Wait()
					if n := b.server.Count(); n != 1 {
						b.Errorf("asked for %s within the pause", asked(b.server))
					}
					all.Wait()
					if took := time.Since(begun); took > 7*time.Second {
						b.Errorf("it took %s", took)
					}
				})
			})
		}
	}
}

// Who has no deadline waits for so long, and is told why no longer; another host
// is asked meanwhile.
func TestPauseIsTooLong(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{MaxWait: time.Minute}, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		b.server.Break(registrytest.Only(registrytest.Manifest, first(1, wants(429, "61"))))
		for range 3 {
			if _, err := b.repository("a").Manifest(b.Context(), "x"); statusOf(err) != 429 || b.passed() != 0 {
				b.Errorf("%v after %s", err, b.passed())
			}
		}
		if n := b.server.Count(registrytest.Manifest); n != 1 {
			b.Errorf("%d requests", n)
		}
		if got, want := b.client.Stats().Hosts[b.server.Host()].Trouble, "left alone until "+b.begun.Add(61*time.Second).UTC().Format(time.RFC3339); got != want {
			b.Errorf("the trouble is %q, want %q", got, want)
		}
		manifests(b, 1, repositoryOf(b, b.client, strings.Replace(b.server.Host(), "127.0.0.1", "localhost", 1)+"/a"))
		time.Sleep(2 * time.Second)
		manifests(b, 1, b.repository("a"))
		if took := b.passed(); took < time.Minute || took > 63*time.Second {
			b.Errorf("it was asked after %s", took)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "300": 5 * time.Minute, "301": MaxPause, "99999999999999999999": 0, "18446744073709551615": MaxPause,
		"-1": 0, "+1": 0, "1.5": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:05 GMT": 0,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0, "Sat, 02 Jan 2027 03:04:05 GMT": MaxPause, "Friday, 02-Jan-26 03:04:15 GMT": 10 * time.Second,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q is %s, want %s", header, got, want)
		}
	}
}
