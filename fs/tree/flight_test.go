package tree

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// running counts this package's goroutines.
func running() int {
	b := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(stack, "fs/tree.(*Tree).detach") {
			n++
		}
	}
	return n
}

// Close ends what is being asked, tells those who wait, and leaves nothing
// running.
func TestCloseWhileRequestsRun(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 10})
	f.fill("listed", 30)
	d := f.push("a", "1", 1)
	f.read("a/tags/1/digest")
	f.server.Break(registrytest.Only(registrytest.Manifest, f.server.Silent()))
	f.server.Break(from(1, f.server.Silent()))
	before := running()
	ends := make(chan error)
	for _, path := range []string{"a/tags/2", "b/digests/" + d.String(), "a/tags/2/image.tar"} {
		go func() {
			_, err := f.lookup(path)
			ends <- err
		}()
	}
	arrived := make(chan struct{})
	go func() {
		n := 0
		for _, err := range f.listTags(t.Context(), "listed/tags") {
			if n++; n == 10 {
				close(arrived)
			}
			if err != nil {
				ends <- err
			}
		}
	}()
	<-arrived
	for f.server.Count(registrytest.Manifest) < 3 { // the first was before
		runtime.Gosched()
	}
	if n := running(); n <= before {
		t.Fatalf("%d goroutines, want more than %d", n, before)
	}
	f.tree.Close()
	for range 4 {
		if err := <-ends; !errors.Is(err, errClosed) {
			t.Errorf("error %v, want %v", err, errClosed)
		}
	}
	if _, err := f.lookup("a/tags/new"); !errors.Is(err, errClosed) {
		t.Errorf("error %v, want %v", err, errClosed)
	}
	if _, err := f.list("b/tags"); !errors.Is(err, errClosed) {
		t.Errorf("error %v, want %v", err, errClosed)
	}
	// What needs no registry goes on.
	f.read("a/tags/1/manifest.json")
	f.tree.Close()
}

// Time is the bubble's here, and what is asked is no network's.
func TestFlights(t *testing.T) {
	never := func(ctx context.Context) (resolution, error) {
		<-ctx.Done()
		return resolution{}, context.Cause(ctx)
	}
	t.Run("a request that hangs is ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tree := New(Options{})
			began := time.Now()
			_, err := tree.flights.ask(t.Context(), "question", never)
			if took := time.Since(began); took != requestLimit || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", took, err)
			}
			tree.Close()
		})
	})
	t.Run("failures are remembered for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tree := New(Options{})
			asked := 0
			for range 20 {
				_, err := tree.flights.ask(t.Context(), "question", func(context.Context) (resolution, error) {
					asked++
					return resolution{}, errors.New("out of order")
				})
				if err == nil {
					t.Fatal("no error")
				}
				time.Sleep(failedFor / 5)
			}
			if asked != 4 {
				t.Errorf("asked %d times, want one in failedFor", asked)
			}
			tree.Close()
		})
	})
	t.Run("a panic is an error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tree := New(Options{})
			_, err := tree.flights.ask(t.Context(), "question", func(context.Context) (resolution, error) { panic("oh") })
			if err == nil || !strings.Contains(err.Error(), "oh") {
				t.Errorf("error %v", err)
			}
			tree.Close()
		})
	})
	t.Run("a panic of another kind is reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var reported error
			tree := New(Options{Report: func(_ string, err error) { reported = err }})
			tree.detach(time.Second, nil, func(context.Context) { panic("oh") })
			tree.Close()
			if reported == nil || !strings.Contains(reported.Error(), "oh") {
				t.Errorf("reported %v", reported)
			}
		})
	})
	t.Run("a caller leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tree := New(Options{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := tree.flights.ask(ctx, "question", never); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			synctest.Wait()
			tree.Close()
			if n := len(tree.flights.inAir); n != 0 {
				t.Errorf("%d requests are in the air after Close", n)
			}
		})
	})
}

// That a file of this machine is missing says nothing of the registry.
func TestOnlyTheRegistryKnowsAbsence(t *testing.T) {
	_, missing := exec.LookPath("/no/such/helper")
	if err := fmt.Errorf("credentials: %w", missing); isAbsent(err) {
		t.Errorf("%v is taken for the registry's answer", err)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	for i := range 2 * rememberedFailures {
		_, _ = f.tree.flights.ask(t.Context(), fmt.Sprint(i), func(context.Context) (resolution, error) {
			return resolution{}, errors.New("out of order")
		})
	}
	if n := f.tree.flights.failed.Len(); n != rememberedFailures {
		t.Errorf("%d failures are remembered", n)
	}
}
