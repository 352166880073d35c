package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// hangUp drops the connection before an answer.
func hangUp(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
	panic(http.ErrAbortHandler)
}

// look reads a manifest, the list of tags and a blob.
func look(ctx context.Context, r *Repository, d Digest) error {
	if _, err := r.Manifest(ctx, "x"); err != nil {
		return err
	}
	for _, err := range r.Tags(ctx) {
		if err != nil {
			return err
		}
	}
	body, _, err := r.BlobRange(ctx, d, 0, 100)
	if err != nil {
		return err
	}
	return body.Close()
}

// TestRetry: "A hiccup of a registry is not an error." What a connection or a host
// fails is asked for again, after a moment, whatever it is.
func TestRetry(t *testing.T) {
	faults := map[string]registrytest.Fault{"hangs up": hangUp}
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		faults[fmt.Sprint(status)] = registrytest.Refuse(status, "UNKNOWN", "not now")
	}
	faults["breaks"] = registrytest.CutAfter(1) // a blob's body is for its reader to go on with
	kinds := []registrytest.Kind{registrytest.Ping, registrytest.Token, registrytest.Manifest, registrytest.Tags, registrytest.Blob}
	for name, fault := range faults {
		for _, kind := range kinds {
			if name == "breaks" && (kind == registrytest.Blob || kind == registrytest.Ping) {
				continue
			}
			t.Run(fmt.Sprint(kind, " ", name), func(t *testing.T) {
				inBubble(t, registrytest.Options{Bearer: true}, Options{}, func(b *bubble) {
					b.server.PutManifest("a", "x", imageType, []byte("{}"))
					d := b.server.PutBlob("a", someBytes(100))
					b.server.Break(registrytest.Only(kind, first(2, fault)))
					if err := look(b.Context(), b.repository("a"), d); err != nil {
						b.Errorf("%v", err)
					}
					if n := b.server.Count(kind); n != 3 {
						b.Errorf("%d requests, want 3", n)
					}
					// A connection that was used before is made anew at once, by net/http.
					if took := b.passed(); took < firstBackOff/2 || took > time.Second {
						b.Errorf("it took %s", took)
					}
				})
			})
		}
	}
}

// A token that is asked for by POST is, too.
func TestRetryOAuth(t *testing.T) {
	opts := Options{Keychain: fixed(authn.AuthConfig{IdentityToken: "identity"})}
	inBubble(t, registrytest.Options{Bearer: true, Username: "u", IdentityToken: "identity"}, opts, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		b.server.Break(registrytest.Only(registrytest.Token, first(2, registrytest.Refuse(503, "", ""))))
		if _, err := b.repository("a").Manifest(b.Context(), "x"); err != nil {
			b.Errorf("%v", err)
		}
		if log := asked(b.server); !strings.HasSuffix(log, "ping, POST token, POST token, POST token, manifest by bearer") {
			b.Errorf("asked for %s", log)
		}
	})
}

// What would be the same the next time is asked for once.
func TestNoRetry(t *testing.T) {
	for _, status := range []int{400, 403, 404, 405, 410, 416, 418, 501, 505} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
				b.server.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(status, "", "")))
				if _, err := b.repository("a").Manifest(b.Context(), "x"); statusOf(err) != status {
					b.Errorf("%v", err)
				}
				if n := b.server.Count(registrytest.Manifest); n != 1 || b.passed() != 0 {
					b.Errorf("%d requests in %s", n, b.passed())
				}
			})
		})
	}
	t.Run("protocol", func(t *testing.T) {
		inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
			b.server.Break(registrytest.Only(registrytest.Tags, says("<html>")))
			if _, err := tagsOf(b, b.repository("a")); !errors.Is(err, ErrProtocol) || b.server.Count(registrytest.Tags) != 1 {
				b.Errorf("%v; asked for %s", err, asked(b.server))
			}
		})
	})
	t.Run("redirect", func(t *testing.T) {
		inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
			b.server.Break(registrytest.Only(registrytest.Manifest, to("http://registry.example.com")))
			if _, err := b.repository("a").Manifest(b.Context(), "x"); !errors.Is(err, ErrPlainHTTP) || b.server.Count(registrytest.Manifest) != 1 {
				b.Errorf("%v; asked for %s", err, asked(b.server))
			}
		})
	})
	t.Run("certificate", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{TLS: true})
		proxy := registrytest.StartProxy(t)
		c := clientOf(t, Options{Retries: DefaultRetries, Proxy: proxy.URL()})
		if _, err := repositoryOf(t, c, s.Host()+"/a").Manifest(t.Context(), "x"); err == nil {
			t.Error("it is trusted")
		}
		if hosts := proxy.Hosts(); len(hosts) > 2 { // the ping by TLS, and the one without
			t.Errorf("the proxy saw %s", hosts)
		}
	})
	t.Run("never", func(t *testing.T) {
		inBubble(t, registrytest.Options{}, Options{Retries: -1}, func(b *bubble) {
			b.server.PutManifest("a", "x", imageType, []byte("{}"))
			b.server.Break(registrytest.Only(registrytest.Manifest, registrytest.CutAfter(1)))
			if _, err := b.repository("a").Manifest(b.Context(), "x"); err == nil || b.server.Count(registrytest.Manifest) != 1 {
				b.Errorf("%v; asked for %s", err, asked(b.server))
			}
		})
	})
	t.Run("left", func(t *testing.T) {
		inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
			ctx, leave := context.WithCancelCause(b.Context())
			why := errors.New("left")
			b.server.Break(registrytest.Only(registrytest.Manifest, func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
				leave(why)
				panic(http.ErrAbortHandler)
			}))
			if _, err := b.repository("a").Manifest(ctx, "x"); !errors.Is(err, why) || b.server.Count(registrytest.Manifest) != 1 {
				b.Errorf("%v; asked for %s", err, asked(b.server))
			}
		})
	})
}

// Silence is waited for as often as half a minute allows, and a caller who has no
// time for another try is told at once.
func TestRetryIsBounded(t *testing.T) {
	for patience, requests := range map[time.Duration]int{30 * time.Second: 1, 14 * time.Second: 3, time.Second: 4} {
		t.Run(patience.String(), func(t *testing.T) {
			inBubble(t, registrytest.Options{}, Options{ReadTimeout: patience}, func(b *bubble) {
				b.server.Break(registrytest.Only(registrytest.Manifest, b.server.Silent()))
				_, err := b.repository("a").Manifest(b.Context(), "x")
				var timeout interface{ Timeout() bool }
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					b.Errorf("%v", err)
				}
				if n := b.server.Count(registrytest.Manifest); n != requests || b.passed() > time.Minute {
					b.Errorf("%d requests in %s", n, b.passed())
				}
			})
		})
	}
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		b.server.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(503, "UNAVAILABLE", "not now")))
		ctx, end := context.WithTimeout(b.Context(), firstBackOff/4)
		defer end()
		if _, err := b.repository("a").Manifest(ctx, "x"); statusOf(err) != 503 || b.passed() != 0 {
			b.Errorf("%v after %s", err, b.passed())
		}
	})
}

// A fifth of all requests fails, and nobody notices; one that fails for good is
// not asked three times as much for that.
func TestRetryBudget(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		const wanted = 1000
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		var mu sync.Mutex
		n := 0
		b.server.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			mu.Lock()
			n++
			broken := n%5 == 0
			mu.Unlock()
			if broken {
				hangUp(w, r, req, next)
			}
			next(w, r)
		}))
		r := b.repository("a")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range wanted / 20 {
					if _, err := r.Manifest(b.Context(), "x"); err != nil {
						b.Errorf("%v", err)
					}
				}
			})
		}
		all.Wait()
		if n := b.server.Count(registrytest.Manifest); n > wanted*13/10 {
			b.Errorf("%d requests for %d", n, wanted)
		}
		b.server.Forget()
		b.server.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(500, "UNKNOWN", "broken")))
		begun := time.Now()
		for range wanted {
			if _, err := r.Manifest(b.Context(), "x"); statusOf(err) != 500 {
				b.Errorf("%v", err)
			}
		}
		allowed := wanted + maxRetryTokens + int(time.Since(begun).Seconds()) + 1
		if n := b.server.Count(registrytest.Manifest); n > allowed {
			b.Errorf("%d requests for %d in %s", n, wanted, time.Since(begun))
		}
	})
}

// Of the ranges of a blob that fails for good one is repeated as often as it may be, and
// the others once.
func TestRetryOfRanges(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		const ranges = 8
		d := b.server.PutBlob("a", make([]byte, ranges*100))
		b.server.Break(registrytest.Only(registrytest.Blob, registrytest.Refuse(500, "UNKNOWN", "broken")))
		r := b.repository("a")
		var all sync.WaitGroup
		for i := range int64(ranges) {
			all.Go(func() {
				if _, _, err := r.BlobRange(b.Context(), d, i*100, 100); statusOf(err) != 500 {
					b.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if n := b.server.Count(registrytest.Blob); n != 2*ranges+DefaultRetries-1 {
			b.Errorf("%d requests for %d ranges", n, ranges)
		}
	})
}

// A sender of hardly anything is as good as a silent one; what he sent is kept.
func TestBlobTrickles(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		content := someBytes(10_000)
		d := b.server.PutBlob("a", content)
		b.server.Break(registrytest.Only(registrytest.Blob, b.server.Trickle(1, 29*time.Second)))
		got, _, err := get(b, b.repository("a"), d, 0, 10_000)
		if !errors.Is(err, ErrStalled) || b.passed() > time.Minute || !bytes.HasPrefix(content, got) || len(got) == 0 {
			b.Errorf("%d bytes in %s, %v", len(got), b.passed(), err)
		}
		b.server.Heal()
		b.server.Break(registrytest.Only(registrytest.Blob, b.server.Trickle(leastBytes, 29*time.Second)))
		if got, _, err := get(b, b.repository("a"), d, 0, 10_000); err != nil || !bytes.Equal(got, content) {
			b.Errorf("a slow one: %d bytes, %v", len(got), err)
		}
	})
}

// A host has so many requests at once, and a slow one is waited for.
func TestRequestsPerHost(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		b.server.PutManifest("a", "x", imageType, []byte("{}"))
		r := b.repository("a")
		manifests(b, 1, r)
		b.server.Forget()
		release := make(chan struct{})
		b.server.Break(registrytest.Only(registrytest.Manifest, b.server.Hold(release)))
		var all sync.WaitGroup
		for range 3 * requestsPerHost {
			all.Go(func() {
				if _, err := r.Manifest(b.Context(), "x"); err != nil {
					b.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		ctx, leave := context.WithTimeout(b.Context(), time.Second)
		defer leave()
		if _, err := r.Manifest(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) || b.passed() < time.Second {
			b.Errorf("who has no time: %v after %s", err, b.passed())
		}
		synctest.Wait()
		if n := b.server.Count(); n != requestsPerHost {
			b.Errorf("%d requests at once", n)
		}
		close(release)
		all.Wait()
	})
}

// A token that one repository is refused says nothing of that of another: they are asked
// for at one path. Neither do two registries of one mirror.
func TestVainIsOfOneSubject(t *testing.T) {
	for name, options := range map[string]struct {
		server registrytest.Options
		client Options
	}{
		"GET":  {registrytest.Options{Bearer: true}, Options{}},
		"POST": {registrytest.Options{Bearer: true, Username: "u", IdentityToken: "i"}, Options{Keychain: fixed(authn.AuthConfig{IdentityToken: "i"})}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options.server, options.client, func(b *bubble) {
				for _, name := range []string{"a", "b"} {
					b.server.PutManifest(name, "x", imageType, []byte("{}"))
				}
				b.server.Break(registrytest.Only(registrytest.Token, first(1+DefaultRetries+2, registrytest.Refuse(503, "", ""))))
				if _, err := b.repository("a").Manifest(b.Context(), "x"); statusOf(err) != 503 {
					b.Fatalf("%v", err)
				}
				if _, err := b.repository("b").Manifest(b.Context(), "x"); err != nil {
					b.Errorf("another repository: %v; asked for %s", err, asked(b.server))
				}
			})
		})
	}
}

// What is asked for is the same whatever a redirect has signed it with.
func TestSubject(t *testing.T) {
	subjectOf := func(ctx context.Context, url string) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return subject(req)
	}
	scope := func(s string) context.Context { return context.WithValue(t.Context(), forScope{}, s) }
	if a, b := subjectOf(t.Context(), "https://cdn.example/b?Signature=1"), subjectOf(t.Context(), "https://cdn.example/b?Signature=2"); a != b {
		t.Errorf("%q and %q are of one blob", a, b)
	}
	all := map[string]bool{}
	for _, s := range []string{
		subjectOf(t.Context(), "https://m.example/v2/a/tags/list?ns=docker.io"), subjectOf(t.Context(), "https://m.example/v2/a/tags/list?ns=ghcr.io"),
		subjectOf(scope("repository:a:pull"), "https://m.example/token"), subjectOf(scope("repository:b:pull"), "https://m.example/token"),
	} {
		all[s] = true
	}
	if len(all) != 4 {
		t.Errorf("different subjects are the same: %v", all)
	}
}
