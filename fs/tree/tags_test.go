package tree

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func TestTagTTL(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	first := f.push("a", "1", 1)
	if got := f.read("a/tags/1/digest"); got != first.String()+"\n" {
		t.Fatalf("digest %q, want %s", got, first)
	}
	f.wantAsked("cold", "GET a:1")

	f.pass(tagTTL - time.Second)
	if left := f.mustLookup("a/tags/1").Lifetime; left != time.Second {
		t.Errorf("the tag is good for %v, want what is left of its TTL", left)
	}
	if left := f.mustLookup("a/tags/1/manifest.json").Lifetime; left != time.Second {
		t.Errorf("a file below it is good for %v, want what is left of the tag's TTL", left)
	}
	f.wantAsked("within the TTL")

	f.pass(time.Second)
	f.read("a/tags/1/manifest.json")
	f.read("a/tags/1/digest")
	f.wantAsked("after the TTL", "HEAD a:1")

	second := f.push("a", "1", 2)
	f.read("a/tags/1/image.tar")
	f.wantAsked("within the second TTL")
	if got := f.read("a/tags/1/digest"); got != first.String()+"\n" {
		t.Errorf("digest %q before the TTL has run out, want %s", got, first)
	}

	f.pass(tagTTL)
	if got := f.read("a/tags/1/digest"); got != second.String()+"\n" {
		t.Errorf("digest %q of the tag that moved, want %s", got, second)
	}
	f.read("a/tags/1/manifest.json")
	f.wantAsked("after the tag moved", "HEAD a:1", "GET a:1")

	f.server.Tag("a", "1", first)
	f.pass(tagTTL)
	if got := f.read("a/tags/1/digest"); got != first.String()+"\n" {
		t.Errorf("digest %q of the tag that moved back, want %s", got, first)
	}
	f.wantAsked("after it moved back to what is known", "HEAD a:1")
}

func TestWithoutTTLEachLookupAsks(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.tree.opts.TagTTL = 0
	for range 2 {
		if _, err := f.lookup("a/tags/1"); err != nil {
			t.Fatal(err)
		}
	}
	f.wantAsked("without a TTL", "GET a:1", "HEAD a:1")
}

// Many who ask at once are one request, and so are those who come while it is
// answered.
func TestConcurrentLookupsShareARequest(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	for _, want := range []string{"GET a:1", "HEAD a:1", "HEAD a:1"} {
		release := make(chan struct{})
		f.server.Break(registrytest.Only(registrytest.Manifest, f.server.Hold(release)))
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				if i == 32 {
					close(release)
				}
				if _, err := f.lookup("a/tags/1/image.tar"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		f.wantAsked("by many", want)
		f.server.Heal()
		f.pass(tagTTL)
	}
}

// One who saw the TTL run out, and asks when another's answer has just come,
// asks nothing.
func TestLookupsAroundAnAnswer(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.mustLookup("a/tags/1")
	for range 50 {
		f.asked()
		f.pass(tagTTL)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if _, err := f.lookup("a/tags/1"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		f.wantAsked("by many", "HEAD a:1")
	}
}

// The request goes on when the one who asked first has left.
func TestLookupOutlivesItsCaller(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	reached, release := make(chan struct{}), make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		close(reached)
		f.server.Hold(release)(w, r, req, next)
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	go func() {
		<-reached
		cancel(gone)
	}()
	if _, err := walk(ctx, f.tree, f.path("a/tags/1")); !errors.Is(err, gone) {
		t.Fatalf("the caller that left got %v", err)
	}
	second := make(chan error)
	go func() {
		_, err := f.lookup("a/tags/1")
		second <- err
	}()
	close(release)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	f.wantAsked("by two, one of whom left", "GET a:1")
}

func TestUnknownTag(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	for range 3 {
		if _, err := f.lookup("a/tags/2"); !errors.Is(err, iofs.ErrNotExist) {
			t.Fatalf("error %v, want not exist", err)
		}
		f.pass(absentFor / 4)
	}
	f.wantAsked("for a tag that is not there", "GET a:2")
	f.push("a", "2", 2)
	f.pass(absentFor / 4)
	if _, err := f.lookup("a/tags/2"); err != nil {
		t.Fatal(err)
	}
	f.wantAsked("for it later", "GET a:2")
}

func TestFailureIsNotAbsence(t *testing.T) {
	cases := map[string]struct {
		fault  registrytest.Fault
		warmed bool
		is     error // nil: none of those that mean something
	}{
		"500":           {registrytest.Refuse(500, "UNKNOWN", "out of order"), false, nil},
		"500 to a HEAD": {registrytest.Refuse(500, "UNKNOWN", "out of order"), true, nil},
		"403":           {registrytest.Refuse(403, "DENIED", "no"), false, iofs.ErrPermission},
		"a drop":        {registrytest.CutAfter(10), false, nil},
		"other bytes":   {registrytest.FlipAt(10), false, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			d := f.push("a", "1", 1)
			path := "a/tags/1/manifest.json"
			if name == "other bytes" { // by tag, any bytes are right
				path = "a/digests/" + d.String() + "/manifest.json"
			}
			if c.warmed {
				f.read(path)
				f.pass(tagTTL)
				f.asked()
			}
			f.server.Break(registrytest.Only(registrytest.Manifest, c.fault))
			for range 5 {
				_, err := f.lookup(path)
				if err == nil || errors.Is(err, iofs.ErrNotExist) || (c.is != nil && !errors.Is(err, c.is)) {
					t.Fatalf("error %v", err)
				}
				f.pass(failedFor / 10)
			}
			if n := len(f.asked()); n != 1 {
				t.Errorf("%d requests within a second of the failure, want 1", n)
			}
			f.server.Heal()
			f.pass(failedFor)
			if _, err := f.lookup(path); err != nil {
				t.Errorf("after the registry has recovered: %v", err)
			}
		})
	}
}

func TestDeletedTag(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	f.read("a/tags/1/manifest.json")
	f.asked()
	f.server.Untag("a", "1")
	f.read("a/tags/1/manifest.json")
	f.wantAsked("within the TTL")
	f.pass(tagTTL)
	if _, err := f.lookup("a/tags/1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("error %v, want not exist", err)
	}
	f.wantAsked("after the TTL", "HEAD a:1")
	f.pass(absentFor)
	if _, err := f.lookup("a/tags/1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("error %v, want not exist", err)
	}
	f.wantAsked("for a tag that nothing is known of", "GET a:1")
	f.read("a/digests/" + d.String() + "/manifest.json")
	f.wantAsked("for its digest, which stays")
}

// A tag that moves while it is asked for is what it is then, not "not found"
// because what it was is gone.
func TestTagMovesToWhatIsDeletedAtOnce(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	second, third := f.push("a", "1", 2), f.push("a", "", 3)
	f.server.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		next(w, r)
		if r.Method == http.MethodHead {
			f.server.Tag("a", "1", third)
		}
	}))
	f.pass(tagTTL)
	if got := f.read("a/tags/1/digest"); got != third.String()+"\n" {
		t.Errorf("digest %q, want %s (and not %s)", got, third, second)
	}
}

func TestClockSetBack(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	if _, err := f.lookup("a/tags/none"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	second := f.push("a", "1", 2)
	f.push("a", "none", 3)
	f.asked()
	f.pass(-24 * time.Hour)
	// What was learned in the future is of no known age.
	if got := f.read("a/tags/1/digest"); got != second.String()+"\n" {
		t.Errorf("digest %q, want %s", got, second)
	}
	if _, err := f.lookup("a/tags/none"); err != nil {
		t.Errorf("a tag that is there now: %v", err)
	}
	f.wantAsked("after the clock was set back", "HEAD a:1", "GET a:1", "GET a:none")
	if got, err := f.list("a/tags"); len(got) != 2 || err != nil {
		t.Errorf("listed %q, %v", got, err)
	}
}

func TestListedNameNeedsNoRequest(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.push("a", "2", 2)
	if got, err := f.list("a/tags"); len(got) != 2 || err != nil {
		t.Fatalf("listed %q, %v", got, err)
	}
	f.pass(listTTL - time.Second)
	for _, tag := range []string{"1", "2"} {
		child := f.mustLookup("a/tags/" + tag)
		if child.Lifetime != time.Second {
			t.Errorf("%s is good for %v, want what is left of the list's TTL", tag, child.Lifetime)
		}
		if attr, err := child.Node.Attr(t.Context()); err != nil || attr.Lifetime != 0 {
			t.Errorf("attributes of %s: %+v, %v", tag, attr, err)
		}
	}
	f.wantAsked("for names of a fresh list")
	f.pass(time.Second)
	f.mustLookup("a/tags/1")
	f.wantAsked("when the list is too old", "GET a:1")
}

func TestTagAtDigest(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	f.push("a", "1", 2)
	child := f.mustLookup("a/tags/1@" + d.String())
	if child.Lifetime != Forever {
		t.Errorf("good for %v, want for ever", child.Lifetime)
	}
	f.wantAsked("the digest decides", "GET a:"+d.String())
	if got := f.read("a/tags/1@" + d.String() + "/digest"); got != d.String()+"\n" {
		t.Errorf("digest %q, want %s", got, d)
	}
	f.mustLookup("a/tags/other@" + d.String() + "/image.tar")
	f.pass(365 * 24 * time.Hour)
	f.mustLookup("a/digests/" + d.String())
	f.wantAsked("for a digest that is known")
}

// Another process that has the same store need not ask what this one knows.
func TestTagResolvedByAnotherProcess(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	other := f.newTree("linux/amd64")
	f.read("a/tags/1/digest")
	f.pass(tagTTL)
	f.read("a/tags/1/digest")
	f.asked()
	if _, err := walk(t.Context(), other, f.path("a/tags/1/manifest.json")); err != nil {
		t.Fatal(err)
	}
	f.wantAsked("by the other process")
	f.pass(tagTTL)
	if _, err := walk(t.Context(), other, f.path("a/tags/1/manifest.json")); err != nil {
		t.Fatal(err)
	}
	f.asked()
	f.read("a/tags/1/digest")
	f.wantAsked("after the other process has asked")
}

// A tag whose manifest the cache lost is asked for by its name: its digest may
// be gone.
func TestLostManifest(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	lost, err := filepath.Glob(filepath.Join(f.dir, "refs", "*", "digests", "*"))
	if err != nil || len(lost) != 1 {
		t.Fatalf("%q, %v", lost, err)
	}
	if err := os.Remove(lost[0]); err != nil {
		t.Fatal(err)
	}
	f.asked()
	if _, err := walk(t.Context(), f.newTree("linux/amd64"), f.path("a/tags/1/digest")); err != nil {
		t.Fatal(err)
	}
	f.wantAsked("for a manifest that was lost", "GET a:1")
}
