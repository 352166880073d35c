package tree

import (
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestListStale: "A list of tags that a registry fails to give has those that are
// known, for --stale-if-error." What it says of the list is believed.
func TestListStale(t *testing.T) {
	for name, c := range map[string]struct {
		fault registrytest.Fault
		stale bool
	}{
		"too many requests": {registrytest.Refuse(429, "TOOMANYREQUESTS", "later"), true},
		"a failure":         {registrytest.Refuse(503, "UNAVAILABLE", "down"), true},
		"a dropped call": {func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
			panic(http.ErrAbortHandler)
		}, true},
		"not found":   {registrytest.Refuse(404, "NAME_UNKNOWN", "gone"), false},
		"not for you": {registrytest.Refuse(403, "DENIED", "no"), false},
	} {
		t.Run(name, func(t *testing.T) {
			f, log := staleFixture(t)
			f.push("a", "listed", 1)
			f.push("a", "used", 2)
			if _, err := f.list("a/tags"); err != nil {
				t.Fatal(err)
			}
			f.push("a", "pushed", 3)
			f.read("a/tags/pushed/digest") // in no list yet
			f.pass(listTTL)
			f.server.Break(c.fault)
			f.server.Forget()
			got, err := f.list("a/tags")
			if !c.stale {
				if len(got) > 0 || err == nil {
					t.Errorf("listed %q, %v: what the registry said was not believed", got, err)
				}
				return
			}
			known := []string{"listed", "used", "pushed"}
			if !slices.Equal(got, known) || err != nil {
				t.Fatalf("listed %q, %v; want %q", got, err, known)
			}
			if len(f.reports) != 1 {
				t.Errorf("reported: %v, want the reason, once", f.reports)
			}
			if n := strings.Count(log.String(), "those are listed that are known"); n != 1 {
				t.Errorf("%d lines in the log: %s", n, log)
			}
			// For a while nobody asks, and the names are directories.
			n := f.server.Count()
			f.pass(staleFor - time.Second)
			if got, err := f.list("a/tags"); !slices.Equal(got, known) || err != nil {
				t.Errorf("listed again: %q, %v", got, err)
			}
			if child := f.mustLookup("a/tags/listed"); child.Lifetime > staleFor {
				t.Errorf("a name may be kept for %s", child.Lifetime)
			}
			if again := f.server.Count(); again != n {
				t.Errorf("%d requests while the known tags answered", again-n)
			}
			// Then it is asked again, which is no news while it fails.
			f.pass(time.Second)
			if got, err := f.list("a/tags"); !slices.Equal(got, known) || err != nil {
				t.Errorf("listed after that: %q, %v", got, err)
			}
			if n := strings.Count(log.String(), "those are listed that are known"); n != 1 {
				t.Errorf("%d lines in the log: %s", n, log)
			}
			// And the answer counts, what it lacks too.
			f.pass(staleFor)
			f.server.Untag("a", "used")
			f.server.Heal()
			if got, err := f.list("a/tags"); !slices.Equal(got, []string{"listed", "pushed"}) || err != nil {
				t.Errorf("the registry answers, and listed are %q, %v", got, err)
			}
			// A failure does not make what it failed after any younger.
			f.server.Break(c.fault)
			for range 10 {
				f.pass(staleIfError / 10)
				_, _ = f.list("a/tags") // whatever it says
			}
			f.pass(listTTL)
			if got, err := f.list("a/tags"); len(got) > 0 || err == nil || errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("after %s: %q, %v; want the failure", staleIfError, got, err)
			}
		})
	}
}

// A mount that was just started has no list: those tags are shown that the store
// knows, as far as they can be used.
func TestListStaleOfTheStore(t *testing.T) {
	f, _ := staleFixture(t)
	f.push("a", "1", 1)
	f.push("a", "2", 2)
	f.push("a", "3", 3)
	f.read("a/tags/1/digest")
	f.pass(staleIfError / 2)
	f.read("a/tags/3/digest")
	f.pass(staleIfError / 2)
	f.server.Break(registrytest.Refuse(500, "UNKNOWN", "oops"))
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.StaleIfError = staleIfError })
	if got, err := f.list("a/tags"); !slices.Equal(got, []string{"3"}) || err != nil {
		t.Errorf("listed %q, %v", got, err)
	}
	f.tree = f.newTree("linux/amd64") // without --stale-if-error
	if got, err := f.list("a/tags"); len(got) > 0 || err == nil {
		t.Errorf("listed %q, %v", got, err)
	}
}

// Pages that came are completed by what is known, each name once.
func TestListStaleMidway(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.StaleIfError = staleIfError })
	f.fill("a", 30)
	whole, err := f.list("a/tags")
	if len(whole) != 30 || err != nil {
		t.Fatal(whole, err)
	}
	f.pass(listTTL)
	f.server.Break(from(1, registrytest.Refuse(500, "UNKNOWN", "out of order")))
	if got, err := f.list("a/tags"); !slices.Equal(got, whole) || err != nil {
		t.Errorf("listed %q, %v", got, err)
	}
}

// A registry that is silent is not waited for long, and one that is slow is asked
// once: what it says at last counts.
func TestListStaleDoesNotWait(t *testing.T) {
	f, _ := staleFixture(t)
	f.tree.staleWait = 10 * time.Millisecond
	f.push("a", "1", 1)
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	f.pass(listTTL)
	f.push("a", "2", 2)
	f.server.Untag("a", "1")
	release := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Tags, f.server.Hold(release)))
	f.server.Forget()
	for range 3 {
		if got, err := f.list("a/tags"); !slices.Equal(got, []string{"1"}) || err != nil {
			t.Fatalf("listed %q, %v, while the registry is slow", got, err)
		}
		f.mustLookup("a/tags/1")
		f.pass(staleFor)
	}
	if len(f.reports) != 1 {
		t.Errorf("reported: %v", f.reports)
	}
	close(release)
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := f.list("a/tags")
	for ; !slices.Equal(got, []string{"2"}) && limit.Err() == nil; got, err = f.list("a/tags") {
		runtime.Gosched()
	}
	if !slices.Equal(got, []string{"2"}) || err != nil {
		t.Errorf("listed %q, %v, after the answer", got, err)
	}
	if n := f.server.Count(registrytest.Tags); n != 1 {
		t.Errorf("%d requests for the list, want one", n)
	}
	if _, err := f.lookup("a/tags/1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a tag that is gone: %v", err)
	}
	if n := f.tree.lists.names; n != 1 {
		t.Errorf("%d names are counted, want one", n)
	}
}
