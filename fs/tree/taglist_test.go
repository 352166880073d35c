package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// fill makes n tags of one image, t000000 and so on.
func (f *fixture) fill(repo string, n int) {
	f.t.Helper()
	d := f.push(repo, "", 1)
	for i := range n {
		f.server.Tag(repo, fmt.Sprintf("t%06d", i), d)
	}
}

// pages serves n tags in pages of a thousand, which are made beforehand.
func pages(n int) registrytest.Fault {
	var made []string
	for at := 0; at < n; at += 1000 {
		names := make([]string, min(1000, n-at))
		for i := range names {
			names[i] = fmt.Sprintf("%q", fmt.Sprintf("t%06d", at+i))
		}
		made = append(made, `{"name":"a","tags":[`+strings.Join(names, ",")+`]}`)
	}
	return registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		i, _ := strconv.Atoi(r.URL.Query().Get("last")) // the first page has none
		if i+1 < len(made) {
			w.Header().Set("Link", fmt.Sprintf(`</v2/a/tags/list?n=1000&last=%d>; rel="next"`, i+1))
		}
		_, _ = io.WriteString(w, made[i]) // the client left
	})
}

func (f *fixture) listTags(ctx context.Context, path string) iter.Seq2[Entry, error] {
	f.t.Helper()
	return f.mustLookup(path).Node.(Dir).List(ctx)
}

// from lets a fault see the pages of a list from number n on, the first being 0.
func from(n int64, fault registrytest.Fault) registrytest.Fault {
	var pages atomic.Int64
	return registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if pages.Add(1) > n {
			fault(w, r, req, next)
			return
		}
		next(w, r)
	})
}

func TestListHundredThousandTags(t *testing.T) {
	const tags = 100_000
	f := newFixture(t, registrytest.Options{})
	f.server.Break(pages(tags))
	release := make(chan struct{})
	f.server.Break(from(1, f.server.Hold(release)))
	got := 0
	for e, err := range f.listTags(t.Context(), "a/tags") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("t%06d", got); e.Name != want {
			t.Fatalf("entry %d is %s, want %s", got, e.Name, want)
		}
		if got++; got == 1000 {
			// All of the first page is here, and the second is held back.
			close(release)
		}
	}
	// The last page is as long as the others: what comes after it is asked for too.
	if n := f.server.Count(registrytest.Tags); got != tags || n != tags/1000+1 {
		t.Fatalf("%d tags in %d pages", got, n)
	}
	f.asked()
	for i := 0; i < tags; i += 9 {
		if _, err := f.lookup(fmt.Sprintf("a/tags/t%06d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.list("a/tags"); len(got) != tags || err != nil {
		t.Fatalf("listed %d tags, %v", len(got), err)
	}
	if n := f.server.Count(); n != 0 {
		t.Errorf("%d requests for what was listed", n)
	}
}

func TestListsAtOnceShareOne(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("a", 50)
	release := make(chan struct{})
	f.server.Break(from(2, f.server.Hold(release)))
	arrived := make(chan struct{}, 8)
	var all sync.WaitGroup
	for range cap(arrived) {
		all.Go(func() {
			n := 0
			for _, err := range f.listTags(t.Context(), "a/tags") {
				if err != nil {
					t.Error(err)
				}
				if n++; n == 20 {
					arrived <- struct{}{}
				}
			}
			if n != 50 {
				t.Errorf("listed %d tags", n)
			}
		})
	}
	for range cap(arrived) {
		<-arrived
	}
	close(release)
	all.Wait()
	if n := f.server.Count(registrytest.Tags); n != 5 {
		t.Errorf("%d pages for %d lists at once, want 5", n, cap(arrived))
	}
	f.pass(listTTL)
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	if n := f.server.Count(registrytest.Tags); n != 10 {
		t.Errorf("%d pages after the list's TTL, want 10", n)
	}
}

// While a list fills, and for its TTL once it is there, its names need no
// request, however long it takes.
func TestSlowListIsGoodFromItsEnd(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("a", 20)
	release := make(chan struct{})
	f.server.Break(from(1, f.server.Hold(release)))
	n := 0
	for _, err := range f.listTags(t.Context(), "a/tags") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n != 10 {
			continue
		}
		f.pass(5 * listTTL)
		if left := f.mustLookup("a/tags/t000000").Lifetime; left != listTTL {
			t.Errorf("a name of a list that fills is good for %v, want %v", left, listTTL)
		}
		close(release)
	}
	f.pass(listTTL / 2)
	f.mustLookup("a/tags/t000000")
	f.wantAsked("for names of the list")
}

func TestListFailsMidway(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("a", 30)
	f.server.Break(from(1, registrytest.Refuse(500, "UNKNOWN", "out of order")))
	for range 3 {
		got, err := f.list("a/tags")
		if len(got) != 10 || err == nil || errors.Is(err, iofs.ErrNotExist) {
			t.Fatalf("listed %d tags, error %v, want the first page and an error", len(got), err)
		}
	}
	if n := f.server.Count(registrytest.Tags); n != 2 {
		t.Errorf("%d pages asked for within a second, want 2", n)
	}
	f.mustLookup("a/tags/t000003")
	f.wantAsked("for a name that did come")
	f.server.Heal()
	f.pass(failedFor)
	if got, err := f.list("a/tags"); len(got) != 30 || err != nil {
		t.Errorf("listed %d tags, %v, once the registry has recovered", len(got), err)
	}
}

func TestListOfUnknownRepository(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	if got, err := f.list("a/tags"); got != nil || !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("listed %q, error %v, want not exist", got, err)
	}
}

// A reader that leaves takes nothing with it: the list goes on for the next.
func TestListOutlivesItsReader(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("a", 20)
	release := make(chan struct{})
	f.server.Break(from(1, f.server.Hold(release)))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	gone := errors.New("gone")
	n := 0
	for _, err := range f.listTags(ctx, "a/tags") {
		if n++; n == 10 {
			cancel(gone)
		}
		if n > 10 && !errors.Is(err, gone) {
			t.Errorf("entry %d after the reader left: %v", n, err)
		}
	}
	for _, err := range f.listTags(t.Context(), "a/tags") {
		if err != nil {
			t.Error(err)
		}
		break // as head(1) does
	}
	close(release)
	if got, err := f.list("a/tags"); len(got) != 20 || err != nil {
		t.Errorf("listed %d tags, %v", len(got), err)
	}
	if n := f.server.Count(registrytest.Tags); n != 2 {
		t.Errorf("%d pages, want 2", n)
	}
}

// A repository of which only the tags were listed is known from then on, to those
// who have the store later too.
func TestListedRepositoryIsKnown(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a/b", "1", 1)
	if _, err := f.list("a/b/tags"); err != nil {
		t.Fatal(err)
	}
	child, err := walk(t.Context(), f.newTree("linux/amd64"), f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := names(child.Node.(Dir).List(t.Context())); err != nil || !slices.Equal(got, []string{"b"}) {
		t.Errorf("listed %q, %v", got, err)
	}
}

func TestListLeavesOutWhatIsNoTag(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	for _, hostile := range []string{"../../etc", ".git", "a/b", "a\x00b", "", "x@" + d.String(), strings.Repeat("t", 129), "\x1b[2J"} {
		f.server.Tag("a", hostile, d)
	}
	if got, err := f.list("a/tags"); !slices.Equal(got, []string{"1"}) || err != nil {
		t.Errorf("listed %q, %v", got, err)
	}
}

// A list that a refresh dropped ends with its last reader: nobody would see what
// else comes.
func TestDroppedListEnds(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("a", 30)
	dir := f.mustLookup("a/tags").Node.(Dir)
	silent := f.server.Silent()
	f.server.Break(registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if r.URL.Query().Has("last") { // all pages but the first
			silent(w, r, req, next)
			return
		}
		next(w, r)
	}))
	before := running()
	const rounds = 10
	for range rounds {
		for _, err := range dir.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			f.refresh("a/tags") // with a reader, who goes on
			break
		}
	}
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for running() > before && limit.Err() == nil {
		runtime.Gosched()
	}
	if n := running() - before; n > 0 {
		t.Errorf("%d goroutines of %d lists that nobody reads", n, rounds)
	}
}

// What lists hold of memory has a limit, and a list that is dropped is only
// asked for again. It ends when nobody reads it any more.
func TestListsAreBounded(t *testing.T) {
	const limit = 2 * maxNames
	l := newLists(limit)
	bad := func(*nameList) bool { return false }
	ended := func(list *nameList) bool {
		select {
		case <-list.unwanted:
			return true
		default:
			return false
		}
	}
	old, _ := l.use("old", bad)
	for range maxNames {
		l.grew(old, 1)
	}
	young, _ := l.use("young", bad)
	for range maxNames {
		l.grew(young, 1)
	}
	if _, ok := l.get("old"); !ok || l.names != limit {
		t.Fatalf("%d names, want %d", l.names, limit)
	}
	l.leave(old)
	if ended(old) {
		t.Error("a list that is kept has ended")
	}
	l.grew(young, 1)
	if _, ok := l.get("young"); ok {
		t.Error("the list used longest ago is still there")
	}
	if l.names != maxNames {
		t.Errorf("%d names, want %d", l.names, maxNames)
	}
	l.grew(young, 1)
	if l.names != maxNames {
		t.Error("a list that was dropped is counted")
	}
	if ended(young) {
		t.Error("a list that is read has ended")
	}
	l.leave(young)
	if !ended(young) {
		t.Error("a list that is neither kept nor read goes on")
	}
	if _, isNew := l.use("old", bad); !isNew || l.names != 0 {
		t.Errorf("%d names after the list was replaced", l.names)
	}
	if !ended(old) {
		t.Error("a list that was replaced and is not read goes on")
	}
}

// Names as long as a tag may be are as bad as many of them.
func TestListOfLongNames(t *testing.T) {
	list := newNameList()
	const length = 128
	for i := range maxNameBytes / length {
		if isNew, err := list.add(fmt.Sprintf("%0*d", length, i)); !isNew || err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	if _, err := list.add("one-more"); !errors.Is(err, errTooManyNames) {
		t.Errorf("one more: %v", err)
	}
}

func BenchmarkListTags100k(b *testing.B) {
	const tags = 100_000
	f := newFixture(b, registrytest.Options{})
	f.server.Break(pages(tags))
	dir := f.mustLookup("a/tags").Node.(Dir)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for b.Loop() {
		f.pass(listTTL) // a new list each time
		if got, err := names(dir.List(b.Context())); len(got) != tags || err != nil {
			b.Fatal(len(got), err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc-before.HeapAlloc))/tags, "kept-B/tag")
	runtime.KeepAlive(f)
}
