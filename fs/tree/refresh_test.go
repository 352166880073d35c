package tree

import (
	"errors"
	iofs "io/fs"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// refresh refreshes the directory at a path, and lets a moment pass: what is
// learned at the very time of a refresh counts as before it.
func (f *fixture) refresh(path string) {
	f.t.Helper()
	dir, ok := f.tree.Root(), true
	if path != "/" {
		dir, ok = f.mustLookup(path).Node.(Dir)
	}
	refresher, can := dir.(Refresher)
	if !ok || !can {
		f.t.Fatalf("%s cannot be refreshed", path)
	}
	if err := refresher.Refresh(f.t.Context()); err != nil {
		f.t.Fatalf("refresh %s: %v", path, err)
	}
	f.pass(time.Nanosecond)
}

func TestRefresh(t *testing.T) {
	for _, c := range []struct {
		refresh string
		want    []string // what is asked then, by those who look at all of it
	}{
		{"a/tags/1", []string{"HEAD a:1"}},
		{"a/tags", []string{"HEAD a:1", "HEAD a:2"}},
		{"a", []string{"HEAD a:1", "HEAD a:2", "HEAD a/b:1"}},
		{"a/b", []string{"HEAD a/b:1"}},
		{"/", []string{"HEAD a:1", "HEAD a:2", "HEAD a/b:1", "HEAD ab:1"}},
		{"other", []string{}},
	} {
		t.Run(c.refresh, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			look := func() {
				for _, path := range []string{"a/tags/1", "a/tags/2", "a/b/tags/1", "ab/tags/1"} {
					f.read(path + "/digest")
				}
			}
			f.push("a", "1", 1)
			f.push("a", "2", 2)
			f.push("a/b", "1", 3)
			f.push("ab", "1", 4)
			look()
			f.asked()
			f.pass(time.Second)
			f.refresh(c.refresh)
			f.wantAsked("by the refresh")
			look()
			f.wantAsked("after the refresh", c.want...)
			look()
			f.wantAsked("by the second look")
		})
	}
}

// A tag that moved, one that is new, and one that is gone.
func TestRefreshShowsWhatChanged(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "moved", 1)
	f.push("a", "gone", 2)
	before := f.read("a/tags/moved/digest")
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.lookup("a/tags/new"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
	f.push("a", "moved", 3)
	f.push("a", "new", 4)
	f.server.Untag("a", "gone")
	f.refresh("a/tags")
	if after := f.read("a/tags/moved/digest"); after == before {
		t.Error("the tag that moved is what it was")
	}
	f.mustLookup("a/tags/new")
	if _, err := f.lookup("a/tags/gone"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the tag that is gone: error %v", err)
	}
	if got, _ := f.list("a/tags"); !slices.Equal(got, []string{"moved", "new"}) {
		t.Errorf("listed: %q", got)
	}
}

// A request that was under way answers those who waited, and nobody later.
func TestRefreshDuringARequest(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	f.pass(2 * tagTTL)
	f.asked()
	release := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Manifest, f.server.Hold(release)))
	answered := make(chan Child)
	go func() {
		child, err := f.lookup("a/tags/1")
		if err != nil {
			t.Error(err)
		}
		answered <- child
	}()
	for f.server.Count(registrytest.Manifest) < 1 {
		runtime.Gosched()
	}
	f.pass(time.Second)
	dir := newImageDir(byTag{mustRepository(t, f, "a"), "1"}, "1", imageView{}).(Refresher)
	if err := dir.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.pass(time.Second)
	close(release)
	if child := <-answered; child.Lifetime != 0 {
		t.Errorf("the answer from before is good for %s", child.Lifetime)
	}
	f.server.Heal()
	f.asked()
	if got := f.read("a/tags/1/digest"); got != d.String()+"\n" {
		t.Errorf("digest %q", got)
	}
	f.wantAsked("after the refresh", "HEAD a:1")
}

func mustRepository(t *testing.T, f *fixture, name string) *repository {
	t.Helper()
	r, err := f.tree.repository(f.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// On Docker Hub a name by itself is that of an official image.
func TestRefreshScopes(t *testing.T) {
	for _, c := range []struct {
		scope    scope
		question string
		want     bool
	}{
		{scope{below: true}, "h:5000/a:1", true},
		{scope{"h:5000", "", true}, "h:5000/a:1", true},
		{scope{"h:5000", "", true}, "h:5000/a@sha256:00", true},
		{scope{"h", "", true}, "h:5000/a:1", false},
		{scope{"h/a", "", false}, "h/a:1", true},
		{scope{"h/a", "", false}, "h/a/b:1", false},
		{scope{"h/a", "", true}, "h/ab:1", false},
		{scope{"h/a", "1", false}, "h/a:1", true},
		{scope{"h/a", "1", false}, "h/a:11", false},
		{scope{"h/a", "1", false}, "h/a@sha256:00", false},
	} {
		if got := c.scope.asks(c.question); got != c.want {
			t.Errorf("%+v, %s: %v", c.scope, c.question, got)
		}
	}
}

// The refreshes that are remembered are bounded; none is lost by that.
func TestRefreshesAreBounded(t *testing.T) {
	var r refreshes
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 3 * rememberedRefreshes {
		now = now.Add(time.Microsecond)
		r.add(scope{repository: now.String()}, now, time.Minute)
	}
	if len(r.at) > rememberedRefreshes {
		t.Errorf("%d are remembered", len(r.at))
	}
	if r.since("h/a", "1", now).IsZero() {
		t.Error("those that were dropped count for nothing")
	}
	if last := r.since("h/a", "1", now.Add(-time.Hour)); !last.IsZero() {
		t.Error("one that is still to come counts")
	}
	r.add(scope{repository: "h/a"}, now.Add(time.Hour), time.Minute)
	if len(r.at) != 1 {
		t.Errorf("%d that are too old are remembered", len(r.at)-1)
	}
}
