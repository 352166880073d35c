package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// catalogued has a registry with some repositories, one of which was used.
func catalogued(t *testing.T, opts registrytest.Options) *fixture {
	t.Helper()
	f := newFixture(t, opts)
	for i, repo := range []string{"app", "app-x", "app/web/front", "app/web/back", "team/tags", "team/x", "used/one"} {
		f.push(repo, "1", uint64(i))
	}
	f.read("used/one/tags/1/digest")
	f.server.Forget()
	return f
}

func (f *fixture) wantListed(path string, want ...string) {
	f.t.Helper()
	child, err := walk(f.t.Context(), f.tree, strings.TrimSuffix(f.path(path), "/"))
	if err != nil {
		f.t.Fatal(err)
	}
	if _, versioned := child.Node.(Versioned); versioned {
		f.t.Errorf("%q may be kept for ever by a kernel", path)
	}
	got, err := names(child.Node.(Dir).List(f.t.Context()))
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		f.t.Errorf("%q lists %q, %v, want %q", path, got, err, want)
	}
}

// TestCatalog: "Listing a host or a part of a repository's name shows the registry's
// catalog, where it has one, and what was used." It is one list for all of them.
func TestCatalog(t *testing.T) {
	for name, opts := range map[string]registrytest.Options{"one page": {}, "by pages": {PageSize: 2}, "a token": {Bearer: true}} {
		t.Run(name, func(t *testing.T) {
			f := catalogued(t, opts)
			for range 2 { // while it comes, and out of the list
				f.wantListed("", "app", "app-x", "team", "used")
				f.wantListed("app", "digests", "tags", "web")
				f.wantListed("app/web", "back", "front")
				f.wantListed("app/web/back", "digests", "tags")
				f.wantListed("team", "t%61gs", "x")
				f.wantListed("team/t%61gs", "digests", "tags")
				f.wantListed("used", "one")
				f.wantListed("ap")
				f.wantListed("app/we")
			}
			pages := 1
			if opts.PageSize > 0 {
				pages = 4
			}
			if n := f.server.Count(registrytest.Catalog); n != pages || f.server.Count(registrytest.Tags, registrytest.Manifest) > 0 {
				t.Errorf("%d pages, want %d: %v", n, pages, f.server.Requests())
			}
			f.pass(listTTL)
			f.wantListed("used/one", "digests", "tags")
			f.pass(time.Second)
			f.refresh("used") // of a part of it
			f.wantListed("used", "one")
			if n := f.server.Count(registrytest.Catalog); n != 3*pages {
				t.Errorf("%d pages after the TTL and a refresh, want %d", n, 3*pages)
			}
		})
	}
}

// TestNoCatalog: "A registry that has no catalog lists what was used, and is not asked
// for it again for an hour."
func TestNoCatalog(t *testing.T) {
	for _, status := range []int{200, 401, 403, 404, 405, 501} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			f := catalogued(t, registrytest.Options{NoCatalog: status})
			for range 3 {
				f.wantListed("", "used")
				f.wantListed("used", "one")
				f.wantListed("other")
				f.pass(noCatalogFor / 4)
			}
			if n := f.server.Count(registrytest.Catalog); n != 1 {
				t.Errorf("asked for it %d times", n)
			}
			f.pass(noCatalogFor / 4)
			f.wantListed("", "used")
			if n := f.server.Count(registrytest.Catalog); n != 2 {
				t.Errorf("asked for it %d times after an hour", n)
			}
			f.refresh("/")
			f.wantListed("", "used")
			if n := f.server.Count(registrytest.Catalog); n != 3 {
				t.Errorf("asked for it %d times after a refresh", n)
			}
			if len(f.reports) > 0 {
				t.Errorf("reported: %v", f.reports)
			}
		})
	}
}

// What keeps a catalog from coming keeps nothing else from being listed, and is told.
func TestCatalogFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault registrytest.Fault
		want  []string
	}{
		"out of order": {registrytest.Refuse(500, "UNKNOWN", "out of order"), []string{"used"}},
		"too many":     {registrytest.Refuse(429, "TOOMANYREQUESTS", "slow down"), []string{"used"}},
		"dropped":      {registrytest.CutAfter(5), []string{"used"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := catalogued(t, registrytest.Options{})
			f.server.Break(registrytest.Only(registrytest.Catalog, c.fault))
			for range 3 {
				f.wantListed("", c.want...)
				f.wantListed("used", "one")
			}
			if n := f.server.Count(registrytest.Catalog); n != 1 || len(f.reports) != 1 {
				t.Errorf("asked for it %d times, reported %v", n, f.reports)
			}
			f.server.Heal()
			f.pass(staleFor)
			f.wantListed("", "app", "app-x", "team", "used")
		})
	}
}

// Of a catalog that breaks off, or goes on for ever, what came is shown.
func TestCatalogEndsEarly(t *testing.T) {
	f := catalogued(t, registrytest.Options{PageSize: 3})
	second := func(fault registrytest.Fault) registrytest.Fault {
		return registrytest.Only(registrytest.Catalog, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			if r.URL.Query().Has("last") {
				fault(w, r, req, next)
				return
			}
			next(w, r)
		})
	}
	f.server.Break(second(registrytest.Refuse(404, "NOT_FOUND", "")))
	f.wantListed("", "app", "app-x", "used")
	f.server.Heal()
	f.pass(staleFor)
	f.server.Break(second(f.server.Silent()))
	for e, err := range f.mustLookup("app").Node.(Dir).List(t.Context()) {
		if err != nil || e.Name == "web" { // the end of the first page, and the list goes on
			break
		}
	}
	f.tree.catalogWait = 10 * time.Millisecond
	f.wantListed("", "app", "app-x", "used")
	if !f.reported(errTooSlow) {
		t.Errorf("reported: %v", f.reports)
	}
	// One waits for all.
	f.tree.catalogWait = time.Hour
	f.wantListed("app", "digests", "tags", "web")
	if n := len(f.reports); n != 2 {
		t.Errorf("reported: %v", f.reports)
	}
}

// While a catalog comes, what is known is there at once; who leaves is not held.
func TestCatalogIsWaitedFor(t *testing.T) {
	f := catalogued(t, registrytest.Options{})
	release := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Catalog, f.server.Hold(release)))
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	gone := errors.New("gone")
	host, err := walk(t.Context(), f.tree, f.server.Host())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range host.Node.(Dir).List(ctx) {
		if err != nil && !errors.Is(err, gone) {
			t.Error(err)
		}
		got = append(got, e.Name)
		leave(gone)
	}
	if want := []string{"used", ""}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	close(release)
	f.wantListed("", "app", "app-x", "team", "used")
	if n := f.server.Count(registrytest.Catalog); n != 1 {
		t.Errorf("asked for it %d times", n)
	}
}

// No request is made offline, nor for a program that indexes file systems; that sees
// what others had asked for.
func TestNoCatalogForSome(t *testing.T) {
	f := catalogued(t, registrytest.Options{})
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Offline = true })
	f.wantListed("", "used")
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Pace = 10 })
	host, err := walk(t.Context(), f.tree, f.server.Host())
	if err != nil {
		t.Fatal(err)
	}
	crawler := WithCaller(t.Context(), func() Caller { return Caller{Process: 7, Name: "updatedb"} })
	list := func() []string {
		got, err := names(host.Node.(Dir).List(crawler))
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if got := list(); !slices.Equal(got, []string{"used"}) || f.server.Count() > 0 {
		t.Errorf("a crawler sees %q after %d requests", got, f.server.Count())
	}
	f.wantListed("", "app", "app-x", "team", "used")
	if got := list(); len(got) != 4 || f.server.Count(registrytest.Catalog) != 1 {
		t.Errorf("a crawler sees %q after %d requests", got, f.server.Count())
	}
}

// A listing out of a whole list is the one that goes through all of it.
func TestBelow(t *testing.T) {
	all := []string{"a", "a-b", "a-b/c", "a.b/c/d", "a/b", "a/b-c", "a/b/c", "a/b/c/d", "a/c/x", "a0", "a_b", "b", "c/d"}
	slices.Sort(all)
	for _, path := range append([]string{"", "x", "a/b/c/d/e", "c"}, all...) {
		want := map[string]bool{}
		component := func(name string) string {
			if name == path {
				return "."
			}
			first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, path), "/"), "/")
			return first
		}
		for _, name := range all {
			if path == "" || name == path || strings.HasPrefix(name, path+"/") {
				want[component(name)] = true
			}
		}
		got := map[string]bool{}
		n := 0
		below(all, path, func(name string) bool {
			got[component(name)] = true
			n++
			return true
		})
		if !maps.Equal(got, want) || n > 2*len(want) {
			t.Errorf("%q: %v by %d names, want %v", path, got, n, want)
		}
	}
}
