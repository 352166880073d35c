package tree

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// inBubble runs a test with a registry, a client as a mount has it, a store and a
// tree in a time of their own.
func inBubble(t *testing.T, opts registrytest.Options, test func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipe := registrytest.NewPipe()
		opts.Listener = pipe
		f := &fixture{t: t, server: registrytest.Start(t, opts), dir: t.TempDir()}
		var err error
		if f.store, err = cache.Open(f.dir, cache.Options{}); err != nil {
			t.Fatal(err)
		}
		f.client = registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Dial: pipe.Dial})
		platform, err := ParsePlatform("linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		f.tree = New(Options{Client: f.client, Store: f.store, Platform: platform, TagTTL: tagTTL, ListTTL: listTTL, Report: f.report})
		t.Cleanup(func() {
			f.tree.Close()
			if err := f.store.Close(); err != nil {
				t.Error(err)
			}
			f.client.Close()
		})
		test(f)
	})
}

// TestFailingBlobIsNoStorm: "A storm of reads is not a storm of requests."
func TestFailingBlobIsNoStorm(t *testing.T) {
	inBubble(t, registrytest.Options{}, func(f *fixture) {
		image := registrytest.Image(f.t, registrytest.ImageSpec{Layers: []int64{1 << 20}})
		f.server.Push(f.t, "a", "1", image)
		m, err := image.Manifest()
		if err != nil {
			f.t.Fatal(err)
		}
		file := f.mustLookup("a/tags/1/image.tar").Node.(File)
		f.server.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			if req.Reference == m.Layers[0].Digest.String() {
				registrytest.Refuse(503, "UNAVAILABLE", "not now")(w, r, req, next)
				return
			}
			next(w, r)
		})
		f.server.Forget()
		begun := time.Now()
		for i := range 1000 {
			if wait := time.Duration(i)*10*time.Millisecond - time.Since(begun); wait > 0 {
				time.Sleep(wait)
			}
			open, err := file.Open(f.t.Context())
			if err != nil {
				f.t.Fatal(err)
			}
			b := make([]byte, open.Size())
			_, err = open.ReadAt(f.t.Context(), b, 0)
			if err == nil || errors.Is(err, iofs.ErrNotExist) {
				f.t.Errorf("%v", err)
			}
			if err := open.Close(); err != nil {
				f.t.Error(err)
			}
		}
		if n := f.server.Count(); n > 20 {
			f.t.Errorf("a thousand reads in %s made %d requests", time.Since(begun), n)
		}
	})
}

// Whatever ends a body, what had come of it is not asked for again.
func TestFaultsOnTheWay(t *testing.T) {
	const size = 3 << 20
	stall := func(s *registrytest.Server) registrytest.Fault { return s.Trickle(256<<10, time.Hour) }
	for name, c := range map[string]struct {
		fault func(*registrytest.Server) registrytest.Fault
		slack int64 // bytes that may come twice
	}{
		"reset":       {func(*registrytest.Server) registrytest.Fault { return registrytest.CutAfter(1 << 20) }, 0},
		"at once":     {func(*registrytest.Server) registrytest.Fault { return registrytest.CutAfter(0) }, 0},
		"in a chunk":  {func(*registrytest.Server) registrytest.Fault { return registrytest.CutAfter(1<<20 + 5000) }, 64 << 10},
		"stall":       {stall, 64 << 10},
		"unavailable": {func(*registrytest.Server) registrytest.Fault { return registrytest.Refuse(503, "UNAVAILABLE", "") }, 0},
		"expired": {func(s *registrytest.Server) registrytest.Fault {
			return func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				s.ExpireTokens()
				next(w, r)
			}
		}, 0},
		"short range": {func(*registrytest.Server) registrytest.Fault {
			return func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				r.Header.Set("Range", "bytes=0-99999")
				next(w, r)
			}
		}, 64 << 10},
		"whole blob": {func(*registrytest.Server) registrytest.Fault { return registrytest.Rangeless() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, registrytest.Options{Bearer: true}, func(f *fixture) {
				content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
				d := f.server.PutBlob("a", content)
				remote, err := f.client.Repository(f.server.Host() + "/a")
				if err != nil {
					f.t.Fatal(err)
				}
				if body, _, err := remote.BlobRange(f.t.Context(), d, 0, 1); err != nil || body.Close() != nil {
					f.t.Fatal(err)
				}
				time.Sleep(time.Second) // a token that is fresh does not expire
				f.server.Forget()
				f.server.Break(registrytest.Only(registrytest.Blob, once(c.fault(f.server))))
				blob, err := f.store.Repository(remote.Name()).Blob(d, size, remote).Open(f.t.Context())
				if err != nil {
					f.t.Fatal(err)
				}
				got := make([]byte, size)
				if _, err := blob.ReadAt(f.t.Context(), got, 0); err != nil || !bytes.Equal(got, content) {
					f.t.Errorf("%v", err)
				}
				if err := blob.Close(); err != nil {
					f.t.Error(err)
				}
				if fetched := f.store.Stats().Fetched; fetched > size+c.slack {
					f.t.Errorf("%d bytes came of %d", fetched, size)
				}
				if f.server.Count(registrytest.Blob) < 2 && name != "whole blob" {
					f.t.Error("nothing was tested")
				}
			})
		})
	}
}

// once is a fault of the first request alone.
func once(fault registrytest.Fault) registrytest.Fault {
	var mu sync.Mutex
	done := false
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		mu.Lock()
		before := done
		done = true
		mu.Unlock()
		if before {
			next(w, r)
			return
		}
		fault(w, r, req, next)
	}
}

// A registry that wants to be left alone is, by all who look, and they are told.
func TestLeftAlone(t *testing.T) {
	inBubble(t, registrytest.Options{}, func(f *fixture) {
		f.push("a", "1", 1)
		f.push("a", "2", 2)
		f.server.Break(registrytest.Only(registrytest.Manifest, once(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			w.Header().Set("Retry-After", "120")
			registrytest.Refuse(429, "TOOMANYREQUESTS", "slow down")(w, r, req, next)
		})))
		ctx, end := context.WithTimeout(f.t.Context(), time.Minute)
		defer end()
		begun := time.Now()
		for _, tag := range []string{"1", "2", "1"} {
			_, err := walk(ctx, f.tree, f.path("a/tags/"+tag))
			var answered *registry.Error
			if !errors.As(err, &answered) || answered.Status != 429 || time.Since(begun) != 0 {
				f.t.Errorf("%s: %v after %s", tag, err, time.Since(begun))
			}
		}
		if n := f.server.Count(registrytest.Manifest); n != 1 {
			f.t.Errorf("%d requests", n)
		}
		time.Sleep(2 * time.Minute)
		f.mustLookup("a/tags/1")
	})
}

// TestEveryFifthRequestFails: "A hiccup of a registry is not an error." Every fifth
// request fails, in all ways there are; an image is read to its end, by a bounded
// number of requests.
func TestEveryFifthRequestFails(t *testing.T) {
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{8 << 20, 3 << 20, 1000, 2000, 3000, 4000, 5000}})
	read := func(f *fixture, fault registrytest.Fault) (b []byte, requests int) {
		f.server.Push(f.t, "a", "1", image)
		if fault != nil {
			f.server.Break(fault)
		}
		file := f.mustLookup("a/tags/1/image.tar").Node.(File)
		open, err := file.Open(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		b = make([]byte, open.Size())
		for off := 0; off < len(b); off += 128 << 10 {
			if n, err := open.ReadAt(f.t.Context(), b[off:min(off+128<<10, len(b))], int64(off)); n == 0 {
				f.t.Fatalf("at %d: %v", off, err)
			}
		}
		if err := open.Close(); err != nil {
			f.t.Error(err)
		}
		return b, f.server.Count()
	}
	var want []byte
	var expected int
	inBubble(t, registrytest.Options{Bearer: true}, func(f *fixture) { want, expected = read(f, nil) })
	inBubble(t, registrytest.Options{Bearer: true}, func(f *fixture) {
		faults := []registrytest.Fault{
			registrytest.Refuse(503, "UNAVAILABLE", "not now"), registrytest.Refuse(500, "UNKNOWN", "oh"), registrytest.Refuse(429, "TOOMANYREQUESTS", ""),
			registrytest.CutAfter(0), registrytest.CutAfter(100_000), f.server.Trickle(50_000, time.Hour),
			func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
				panic(http.ErrAbortHandler)
			},
		}
		var mu sync.Mutex
		n, broken := 0, 0
		got, requests := read(f, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			mu.Lock()
			n++
			fault := registrytest.Fault(nil)
			if n%5 == 0 {
				fault = faults[broken%len(faults)]
				broken++
			}
			mu.Unlock()
			if fault == nil {
				next(w, r)
				return
			}
			fault(w, r, req, next)
		})
		if !bytes.Equal(got, want) {
			f.t.Error("it is another image")
		}
		if broken < 3 || requests > 3*expected {
			f.t.Errorf("%d requests, of which %d failed, where %d are enough", requests, broken, expected)
		}
		f.t.Logf("%d requests, of which %d failed, where %d are enough", requests, broken, expected)
	})
}
