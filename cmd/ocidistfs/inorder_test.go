package main

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, ahead = 20, 4
		var running, most atomic.Int64
		numbers := func(context.Context) iter.Seq[int] {
			return func(yield func(int) bool) {
				for i := range n {
					if !yield(i) {
						return
					}
				}
			}
		}
		began := time.Now()
		var got []int
		for i := range inOrder(t.Context(), ahead, numbers, func(_ context.Context, i int) int {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Duration(n-i) * time.Second) // the last ones are done first
			return i
		}) {
			got = append(got, i)
		}
		want := make([]int, n)
		for i := range want {
			want[i] = i
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d", got)
		}
		// One more is taken from the queue, and waited for, while that is full.
		if m := most.Load(); m < 2 || m > ahead+1 {
			t.Errorf("%d at once, want up to %d", m, ahead)
		}
		if took := time.Since(began); took >= n*(n+1)/2*time.Second/2 {
			t.Errorf("it took %v: one after the other", took)
		}
	})
}

// Who stops early waits for nothing that is not on its way: neither for what is to come,
// nor for what was begun and heeds its context.
func TestInOrderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endless := func(ctx context.Context) iter.Seq[int] {
			return func(yield func(int) bool) {
				for i := 0; i < 3 && yield(i); i++ {
				}
				<-ctx.Done()
			}
		}
		var ended atomic.Int64
		for i := range inOrder(t.Context(), 2, endless, func(ctx context.Context, i int) int {
			if i > 0 {
				<-ctx.Done()
				ended.Add(1)
			}
			return i
		}) {
			if i != 0 {
				t.Errorf("%d", i)
			}
			synctest.Wait()
			break
		}
		if n := ended.Load(); n == 0 {
			t.Error("nothing that was begun ahead has ended")
		}
	})
}
