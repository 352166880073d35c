package tree

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// as is a context of a program.
func as(ctx context.Context, process int, name string) context.Context {
	return WithCaller(ctx, func() Caller { return Caller{process, name} })
}

// TestPace: "A program that asks for one new manifest after another is slowed
// down, and no other is."
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newPacer(10, slog.New(slog.NewTextHandler(&log, nil)), func(_ string, err error) { t.Error(err) })
		took := func(ctx context.Context, n int, known bool) time.Duration {
			t.Helper()
			began := time.Now()
			for range n {
				if err := p.admit(ctx, known); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began)
		}
		find, ls := as(t.Context(), 7, "find"), as(t.Context(), 8, "ls")
		if d := took(find, paceBurst, false); d != 0 {
			t.Errorf("the first %d took %s", paceBurst, d)
		}
		if d := took(find, 100, false); d.Round(time.Millisecond) != 10*time.Second {
			t.Errorf("a hundred more took %s, want 10s", d)
		}
		if d := took(find, 1000, true); d != 0 {
			t.Errorf("what is known took %s", d)
		}
		if d := took(ls, paceBurst, false); d != 0 {
			t.Errorf("another program waited for %s", d)
		}
		if d := took(t.Context(), 1000, false); d != 0 {
			t.Errorf("who is nobody waited for %s", d)
		}
		if n := strings.Count(log.String(), "held back"); n != 1 || !strings.Contains(log.String(), "process=7 name=find") {
			t.Errorf("the log: %s", &log)
		}

		// Whoever waits can be interrupted.
		interrupted, interrupt := context.WithCancelCause(find)
		gone := errors.New("gone")
		time.AfterFunc(50*time.Millisecond, func() { interrupt(gone) })
		if err := p.admit(interrupted, false); !errors.Is(err, gone) {
			t.Errorf("interrupted: %v", err)
		}
		// And none waits for long, however many threads there are.
		began := time.Now()
		var threads sync.WaitGroup
		for range 500 {
			threads.Go(func() {
				if err := p.admit(find, false); err != nil {
					t.Error(err)
				}
			})
		}
		threads.Wait()
		if d := time.Since(began); d > maxPause {
			t.Errorf("one of many threads waited for %s", d)
		}
		time.Sleep(time.Minute)
		if d := took(find, paceBurst, false); d != 0 {
			t.Errorf("after a rest it took %s", d)
		}

		none := newPacer(0, slog.New(slog.DiscardHandler), nil)
		for range 1000 {
			if err := none.admit(as(t.Context(), 9, "updatedb"), false); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPacedCallersAreBounded(t *testing.T) {
	p := newPacer(1, slog.New(slog.DiscardHandler), nil)
	for i := range 2 * pacedCallers {
		if err := p.admit(as(t.Context(), i+1, "x"), false); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.callers.Len(); n != pacedCallers {
		t.Errorf("%d callers are known, want %d", n, pacedCallers)
	}
}

// TestCrawler: "No request is made for a program that indexes file systems."
func TestCrawler(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	var log bytes.Buffer
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) {
		o.Pace = 10
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	d := f.push("a", "1", 1)
	f.push("a", "2", 2)
	f.push("b", "1", 3)
	tar := f.read("a/tags/1/image.tar")
	f.read("b/tags/1/digest")
	f.pass(2 * tagTTL)
	f.server.Forget()
	ctx := as(t.Context(), 7, "updatedb")
	for path, want := range map[string]error{
		"a/tags/1/image.tar": nil, "a/tags/1": nil, "a/digests/" + d.String() + "/digest": nil,
		"a/tags/2": ErrCrawler, "c/tags/1": ErrCrawler, "a/digests/" + registrytest.DigestOf(nil).String(): ErrCrawler,
	} {
		if _, err := walk(ctx, f.tree, f.path(path)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	list := func(path string) ([]string, error) {
		child, err := walk(ctx, f.tree, f.path(path))
		if err != nil {
			t.Fatal(err)
		}
		return names(child.Node.(Dir).List(ctx))
	}
	if got, err := list("a/tags"); err != nil || !slices.Equal(got, []string{"1"}) {
		t.Errorf("tags lists %q, %v; want the one that is known", got, err)
	}
	if _, err := list("c/tags"); !errors.Is(err, ErrCrawler) {
		t.Errorf("tags of an unknown repository: %v", err)
	}
	open := func(path string) (OpenFile, error) {
		child, err := walk(ctx, f.tree, f.path(path))
		if err != nil {
			t.Fatal(err)
		}
		return child.Node.(File).Open(ctx)
	}
	if got, err := open("a/tags/1/image.tar"); err != nil {
		t.Error(err)
	} else {
		if string(readAll(t, got)) != tar {
			t.Error("image.tar is another")
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := open("b/tags/1/image.tar"); !errors.Is(err, ErrCrawler) {
		t.Errorf("image.tar whose layer is not there: %v", err)
	}
	if got := f.server.Requests(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
	if n := strings.Count(log.String(), "name=updatedb"); n != 1 || !f.reported(ErrCrawler) {
		t.Errorf("it is told %d times, want once", n)
	}
	// Nobody else is shut out, also not of what was asked for in vain.
	for _, path := range []string{"a/tags/2/digest", "b/tags/1/image.tar"} {
		f.read(path)
	}
}

// Names come from the kernel, which cuts them.
func TestCrawlerNamesFit(t *testing.T) {
	for name := range crawlers {
		if len(name) > 15 {
			t.Errorf("%s has %d bytes", name, len(name))
		}
	}
}
