package chaos

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestFailingBlob: a storm of reads is no storm of requests. As many programs as a
// thousand in ten seconds read a blob that the registry cannot serve.
func TestFailingBlob(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	i := b.push(t, r, "a", registrytest.ImageSpec{Layers: []int64{1 << 20}})
	broken := registrytest.Refuse(http.StatusInternalServerError, "UNKNOWN", "a disk is broken")
	r.Break(func(w http.ResponseWriter, req *http.Request, asked registrytest.Request, next http.HandlerFunc) {
		if asked.Reference == i.layers[0].String() {
			broken(w, req, asked, next)
			return
		}
		next(w, req)
	})
	m := b.mount(t, b.home(t, "cache"))
	b.must(t, "stat", m.in(i.dir, "image.tar"))
	r.Forget()

	const rate, workers = 100, 8 // a second
	seconds := times(10, 3)
	var began = time.Now()
	work := make(chan struct{})
	var right atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range work {
				o := b.run("cat", m.in(i.dir, "image.tar"))
				if o.err == nil || !strings.Contains(o.said, "Remote I/O error") {
					t.Errorf("cat: %v", o)
				}
				right.Add(1)
			}
		})
	}
	tick := time.NewTicker(time.Second / rate)
	for range rate * seconds {
		<-tick.C
		work <- struct{}{}
	}
	tick.Stop()
	close(work)
	all.Wait()
	took := time.Since(began)
	requests := r.Count()
	kinds := map[string]int{}
	for _, q := range r.Requests() {
		kinds[string(q.Kind)+" "+q.Reference+" "+q.Range]++
	}
	t.Logf("%d programs in %s: %d requests: %v", right.Load(), took.Round(time.Millisecond), requests, kinds)
	// One in two seconds, since a failure answers that long; and at first the config, the
	// window ahead, each range of it twice, and what one of them is repeated.
	if limit := 15 + int(took/(2*time.Second)); requests > limit {
		t.Errorf("%d requests, want at most %d", requests, limit)
	}
	if requests == 0 {
		t.Error("nothing was asked for")
	}

	// It is over when the registry is well again.
	r.Heal()
	eventually(t, "a good copy", func() bool { return i.isIt(b.run("cat", m.in(i.dir, "image.tar"))) })
}
