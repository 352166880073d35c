package fs

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestReclaimer: once the kernel has forgotten very many nodes and no more for a while, what they
// took is collected, once.
func TestReclaimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var collected atomic.Int64
		r := newReclaimer(func() { collected.Add(1) })
		forget := func(nodes int, want int64) {
			t.Helper()
			for range nodes {
				r.forgot()
			}
			synctest.Wait()
			if n := collected.Load(); n != want {
				t.Errorf("%d collections, want %d", n, want)
			}
		}
		idle := func() { time.Sleep(2 * reclaimAfter) }
		idle()
		forget(reclaimEach-1, 0)
		idle()
		forget(1, 0)
		time.Sleep(reclaimAfter / 2)
		forget(3*reclaimEach, 0)
		idle()
		forget(0, 1)
		forget(reclaimEach, 1)
		idle()
		forget(0, 2)
	})
}
