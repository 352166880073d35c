//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestCrowd: "A registry that is silent slows no other." Of the READs that wait,
// each registry has so many, and what is there is read nevertheless.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		ctx, end := context.WithCancelCause(t.Context())
		silent := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		at := func(host string) func() string { return func() string { return host } }
		var waiting sync.WaitGroup
		gone := errors.New("gone")
		for range maxWaiting {
			waiting.Go(func() {
				if err := c.join(ctx, at("silent"), silent); !errors.Is(err, gone) {
					t.Errorf("one of the first: %v", err)
				}
			})
		}
		time.Sleep(waitsAfter)
		synctest.Wait()
		begun := time.Now()
		err := c.join(ctx, at("silent"), silent)
		if took := time.Since(begun); toErrno(err) != syscall.EAGAIN || took != waitsAfter {
			t.Errorf("one more: %v after %s", err, took)
		}
		for name, host := range map[string]string{"what is there": "silent", "another registry": "other"} {
			if err := c.join(ctx, at(host), func(ctx context.Context) error { return ctx.Err() }); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		other := make(chan error)
		go func() { other <- c.join(ctx, at("other"), silent) }()
		time.Sleep(10 * waitsAfter)
		end(gone)
		if err := <-other; !errors.Is(err, gone) {
			t.Errorf("one that waits for another registry: %v", err)
		}
		waiting.Wait()
		if len(c.waiting) != 0 {
			t.Errorf("still waiting: %v", c.waiting)
		}
		if err := c.join(t.Context(), at("silent"), func(ctx context.Context) error {
			time.Sleep(2 * waitsAfter)
			return ctx.Err()
		}); err != nil {
			t.Errorf("when the others have gone: %v", err)
		}
	})
}

// The same in a mount: those who come too late are told soon, and what is of
// another registry is read meanwhile.
func TestCrowdedMount(t *testing.T) {
	m := mountRegistry(t, Options{OpTimeout: 3 * time.Second})
	m.registry.Push(t, "good", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}, Seed: 1}))
	other := registrytest.Start(t, registrytest.Options{})
	other.Push(t, "silent", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}}))
	waiting := make(chan struct{}, 1000)
	other.Break(registrytest.Only(registrytest.Blob, announce(waiting, other.Silent())))
	const late = 72
	crowd := make(chan string)
	go func() {
		crowd <- reader(t, readCrowded, m.dir+"/"+other.Host()+"/silent/tags/1/image.tar", fmt.Sprint(maxWaiting+late))
	}()
	<-waiting
	run(t, "cp", m.repository("good")+"/tags/1/image.tar", t.TempDir())
	want := fmt.Sprintf("connection timed out: %d\nresource temporarily unavailable: %d\n", maxWaiting, late)
	if got := <-crowd; got != want {
		t.Errorf("reads ended so:\n%swant:\n%s", got, want)
	}
}

// printCrowded is readCrowded.
func printCrowded(path, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var mu sync.Mutex
	ends := map[syscall.Errno]int{}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			_, err := f.ReadAt(make([]byte, 64<<10), 0)
			var errno syscall.Errno
			errors.As(err, &errno)
			mu.Lock()
			defer mu.Unlock()
			ends[errno]++
		})
	}
	all.Wait()
	for _, errno := range []syscall.Errno{0, syscall.ETIMEDOUT, syscall.EAGAIN} {
		if ends[errno] > 0 {
			fmt.Printf("%s: %d\n", errno, ends[errno])
		}
	}
	return nil
}
