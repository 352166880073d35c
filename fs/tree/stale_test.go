package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

const staleIfError = time.Hour

// staleFixture has a tree that serves tags stale, and what it logs.
func staleFixture(t *testing.T) (*fixture, *bytes.Buffer) {
	t.Helper()
	f := newFixture(t, registrytest.Options{})
	var log bytes.Buffer
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) {
		o.StaleIfError = staleIfError
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	return f, &log
}

// TestOutlivesRegistry: "What was read once by digest is readable with its registry
// gone." And a tag is, for a while.
func TestOutlivesRegistry(t *testing.T) {
	dir := t.TempDir()
	var host, tar string
	var d v1.Hash
	t.Run("while it serves", func(t *testing.T) {
		f := newFixtureIn(t, dir, registrytest.Options{})
		d = f.push("a", "1", 1)
		host = f.server.Host()
		tar = f.read("a/tags/1/image.tar")
	})
	// Its listener is closed, and the store is opened anew.
	f := newFixtureIn(t, dir, registrytest.Options{})
	f.pass(2 * tagTTL)
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.StaleIfError = staleIfError })
	f.server = nil // nothing below may be about it
	read := func(path string) (string, error) {
		child, err := walk(t.Context(), f.tree, host+"/"+path)
		if err != nil {
			return "", err
		}
		open, err := child.Node.(File).Open(t.Context())
		if err != nil {
			return "", err
		}
		defer func() { _ = open.Close() }()
		return string(readAll(t, open)), nil
	}
	for _, in := range []string{"tags/1@" + d.String(), "tags/1"} {
		if got, err := read("a/" + in + "/image.tar"); err != nil || got != tar {
			t.Errorf("%s/image.tar: %d bytes, %v; want the %d that were read before", in, len(got), err, len(tar))
		}
	}
	if got, err := read("a/digests/" + d.String() + "/digest"); err != nil || got != d.String()+"\n" {
		t.Errorf("digest: %q, %v", got, err)
	}
	f.pass(staleIfError)
	if _, err := read("a/tags/1/digest"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the tag, after that time: %v, want refused", err)
	}
	if got, err := read("a/digests/" + d.String() + "/image.tar"); err != nil || got == "" {
		t.Errorf("the digest, after that time: %v", err)
	}
}

// TestStaleIfError: "A tag whose registry fails means what it did, for
// --stale-if-error." What the registry says is believed.
func TestStaleIfError(t *testing.T) {
	abort := func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		fault registrytest.Fault
		stale bool
	}{
		"too many requests": {registrytest.Refuse(429, "TOOMANYREQUESTS", "later"), true},
		"request timeout":   {registrytest.Refuse(408, "TIMEOUT", "late"), true},
		"a failure":         {registrytest.Refuse(500, "UNKNOWN", "oops"), true},
		"unavailable":       {registrytest.Refuse(503, "UNAVAILABLE", "down"), true},
		"a dropped call":    {abort, true},
		"not found":         {registrytest.Refuse(404, "MANIFEST_UNKNOWN", "gone"), false},
		"who are you":       {registrytest.Refuse(401, "UNAUTHORIZED", "who"), false},
		"not for you":       {registrytest.Refuse(403, "DENIED", "no"), false},
		"gone":              {registrytest.Refuse(410, "GONE", "gone"), false},
	} {
		t.Run(name, func(t *testing.T) {
			f, log := staleFixture(t)
			d := f.push("a", "1", 1)
			f.read("a/tags/1/digest")
			f.pass(tagTTL)
			f.push("a", "1", 2)
			f.server.Break(registrytest.Only(registrytest.Manifest, c.fault))
			f.asked()
			child, err := f.lookup("a/tags/1/digest")
			if !c.stale {
				if err == nil {
					t.Fatal("what the registry said was not believed")
				}
				if got := f.tree.Stale(); len(got) > 0 {
					t.Errorf("stale: %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if child.Lifetime > staleFor {
				t.Errorf("the name may be kept for %s", child.Lifetime)
			}
			if got := f.read("a/tags/1/digest"); got != d.String()+"\n" {
				t.Errorf("digest %q, want the last known %s", got, d)
			}
			if n := len(f.asked()); n == 0 {
				t.Error("the registry was not asked")
			}
			for range 5 {
				f.pass(staleFor / 6)
				f.read("a/tags/1/digest")
			}
			f.wantAsked("while the stale answer was good")
			f.pass(staleFor)
			f.read("a/tags/1/digest")
			if n := len(f.asked()); n == 0 {
				t.Error("the registry was not asked again")
			}
			stale := f.tree.Stale()
			if len(stale) != 1 || stale[0].Reference != f.path("a:1") || stale[0].Digest != d.String() ||
				!stale[0].Since.Equal(stale[0].Confirmed.Add(tagTTL)) || stale[0].Reason == "" {
				t.Errorf("stale: %+v", stale)
			}
			if n := strings.Count(log.String(), "taken for what it was"); n != 1 {
				t.Errorf("%d lines in the log: %s", n, log)
			}
			// A tag that nothing is known of has no stale answer.
			if _, err := f.lookup("a/tags/2"); err == nil || errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("another tag: %v", err)
			}
			// For no longer than that.
			f.pass(staleIfError - tagTTL - 2*staleFor)
			_, _ = f.lookup("a/tags/1/digest") // whatever it says
			f.pass(2 * staleFor)
			if _, err := f.lookup("a/tags/1/digest"); err == nil || errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("after %s: %v, want the failure", staleIfError, err)
			}
			if got := f.tree.Stale(); len(got) > 0 {
				t.Errorf("stale, after that: %+v", got)
			}
		})
	}
}

// What was stale is what the registry says as soon as that answers again.
func TestStaleEnds(t *testing.T) {
	f, log := staleFixture(t)
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	f.pass(tagTTL)
	next := f.push("a", "1", 2)
	f.server.Break(registrytest.Refuse(500, "UNKNOWN", "oops"))
	f.read("a/tags/1/digest")
	f.server.Heal()
	// At once, to whoever asks for that; else when it is asked again.
	f.refresh("a/tags/1")
	if got := f.read("a/tags/1/digest"); got != next.String()+"\n" {
		t.Errorf("digest %q, want %s", got, next)
	}
	if got := f.tree.Stale(); len(got) > 0 {
		t.Errorf("stale: %+v", got)
	}
	f.pass(tagTTL)
	f.server.Break(registrytest.Refuse(500, "UNKNOWN", "oops"))
	f.read("a/tags/1/digest")
	if n := strings.Count(log.String(), "taken for what it was"); n != 2 {
		t.Errorf("%d lines in the log, want one each time that it began: %s", n, log)
	}
	if n := strings.Count(log.String(), "answers again"); n != 1 {
		t.Errorf("%d lines in the log, want one each time that it ended: %s", n, log)
	}
	f.server.Heal()
	f.pass(staleFor)
	f.read("a/tags/1/digest")
	if got := f.tree.Stale(); len(got) > 0 {
		t.Errorf("stale: %+v", got)
	}
}

// A registry that is silent is not waited for as long as one that nothing is known
// of.
func TestStaleDoesNotWait(t *testing.T) {
	f, _ := staleFixture(t)
	f.tree.staleWait = 10 * time.Millisecond
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	f.pass(tagTTL)
	f.server.Break(f.server.Silent())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := walk(ctx, f.tree, f.path("a/tags/1/digest")); err != nil {
		t.Error(err)
	}
}

// One that is slow is asked once, and what it says at last counts: else a tag
// would not move for as long as its registry is slow.
func TestStaleGoesOnAsking(t *testing.T) {
	f, _ := staleFixture(t)
	f.tree.staleWait = 10 * time.Millisecond
	old := f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	f.pass(tagTTL)
	next := f.push("a", "1", 2)
	release := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Manifest, f.server.Hold(release)))
	f.asked()
	for range 3 {
		if got := f.read("a/tags/1/digest"); got != old.String()+"\n" {
			t.Fatalf("digest %q while the registry is slow, want %s", got, old)
		}
		f.pass(staleFor)
	}
	close(release)
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(f.tree.Stale()) > 0 && limit.Err() == nil {
		runtime.Gosched()
	}
	if got := f.read("a/tags/1/digest"); got != next.String()+"\n" {
		t.Errorf("digest %q, want %s", got, next)
	}
	f.wantAsked("by all of them", "HEAD a:1", "GET a:1")
}

// Tags that are served stale are known up to a bound.
func TestStaleIsBounded(t *testing.T) {
	s := newStales()
	for i := range 2 * rememberedStale {
		s.add(tagKey{"r.io/a", fmt.Sprint(i)}, cache.Tag{}, time.Time{}, "")
	}
	if n := s.tags.Len(); n != rememberedStale {
		t.Errorf("%d, want %d", n, rememberedStale)
	}
}

// TestOffline: "With --offline no request is made, and what is not in the cache is
// not taken for absent."
func TestOffline(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	index := f.server.PushIndex(t, "i", "1", registrytest.Index(t,
		registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}),
		registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Architecture: "arm64"})))
	d := f.push("a", "1", 1)
	f.push("a", "seen", 2)
	f.push("a", "3", 3)
	tar := f.read("a/tags/1/image.tar")
	f.read("a/tags/seen/digest")
	f.read("i/tags/1/resolved-digest")
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	f.server.Forget()

	for name, dead := range map[string]bool{"registry there": false, "registry dead": true} {
		t.Run(name, func(t *testing.T) {
			if dead {
				f.server.Break(f.server.Silent())
			}
			f.t = t
			f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Offline = true })
			f.pass(365 * 24 * time.Hour)
			if got := f.read("a/tags/1/image.tar"); got != tar {
				t.Errorf("image.tar has %d bytes, want %d", len(got), len(tar))
			}
			f.refresh("a")
			f.read("a/tags/1/manifest.json")
			f.read("a/tags/x@" + d.String() + "/manifest.json")
			f.read("i/digests/" + index.String() + "/resolved-manifest.json")
			if got, err := f.list("a/tags"); err != nil || !slices.Equal(got, []string{"1", "seen"}) {
				t.Errorf("tags lists %q, %v; want those that were used", got, err)
			}
			if got, err := f.list("a"); err != nil || !slices.Equal(got, []string{"digests", "tags"}) {
				t.Errorf("the repository lists %q, %v", got, err)
			}
			for path, want := range map[string]error{
				"a/tags/3":     ErrOffline, // it is there
				"a/tags/other": ErrOffline, // it is not, which nobody knows
				"b/tags/1":     ErrOffline,
				"a/digests/" + registrytest.DigestOf(nil).String(): ErrOffline,
				"a/tags/1@" + registrytest.DigestOf(nil).String():  ErrOffline,
				"a/tags/-x":       iofs.ErrNotExist,
				"a/tags/1/other":  iofs.ErrNotExist,
				"a/digests/other": iofs.ErrNotExist,
			} {
				_, err := f.lookup(path)
				if !errors.Is(err, want) || errors.Is(err, ErrOffline) && errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("%s: %v, want %v", path, err, want)
				}
			}
			if _, err := f.list("b/tags"); !errors.Is(err, ErrOffline) {
				t.Errorf("tags of an unknown repository: %v", err)
			}
			// Of this one the manifest is there, and no blob.
			open := f.open("a/tags/seen/image.tar")
			if _, err := open.ReadAt(t.Context(), make([]byte, open.Size()), 0); !errors.Is(err, ErrOffline) {
				t.Errorf("image.tar whose layer is not there: %v", err)
			}
			if got := f.server.Requests(); len(got) > 0 {
				t.Errorf("requests: %v", got)
			}
		})
	}
}

func TestIsAnswer(t *testing.T) {
	for status, want := range map[int]bool{0: false, 200: false, 400: true, 401: true, 403: true, 404: true, 408: false, 410: true, 425: false, 429: false, 500: false, 503: false} {
		if got := isAnswer(fmt.Errorf("x: %w", &registry.Error{Status: status, Err: errors.New("said")})); got != want {
			t.Errorf("%d: %t, want %t", status, got, want)
		}
	}
	if isAnswer(errors.New("anything")) {
		t.Error("any error is an answer")
	}
}

// A request that answers just when its waiter has given up does not leave the old
// answer behind.
func TestStaleIsOutdated(t *testing.T) {
	f, _ := staleFixture(t)
	f.tree.opts.TagTTL = 0
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	r, err := f.tree.repository(f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := r.record("1")
	f.pass(time.Second)
	next := f.push("a", "1", 2)
	f.read("a/tags/1/digest")
	if _, ok := r.failing("1", before, errTooSlow); !ok {
		t.Fatal("there is no stale answer")
	}
	if got := f.read("a/tags/1/digest"); got != next.String()+"\n" {
		t.Errorf("digest %q, want %s", got, next)
	}
	if got := f.tree.Stale(); len(got) > 0 {
		t.Errorf("stale: %+v", got)
	}
}
