package tree

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

const (
	// paceBurst is how many manifests a program gets as fast as they come. Whoever
	// looks at some images needs fewer; one that walks over a registry needs a
	// hundred times as many, and registries count them (Docker Hub allows a hundred
	// in six hours to whom it does not know).
	paceBurst = 50
	// maxPause is the longest that one operation is held back: a program with many
	// threads waits in each. It is well below what an operation may take.
	maxPause = 10 * time.Second
	// pacedCallers bounds how many programs are known. One that is forgotten begins
	// anew.
	pacedCallers = 1024
)

// ErrCrawler is a request that is not made for a program that indexes whatever is
// mounted, without anybody having asked for that.
var ErrCrawler = errors.New("not fetched for a program that indexes file systems; exclude the mount from it, or allow it with --pace 0")

// crawlers are the names of such programs as the kernel has them, without what
// does not fit into 15 bytes: those of locate (mlocate, plocate, findutils),
// GNOME's (tracker, localsearch), KDE's (baloo), and recoll.
var crawlers = map[string]bool{
	"updatedb": true, "updatedb.mlocat": true, "updatedb.plocat": true, "updatedb.findut": true,
	"mlocate": true, "plocate": true, "locate": true,
	"tracker-miner-f": true, "tracker-extract": true, "localsearch": true, "localsearch-3": true, "localsearch-ext": true,
	"baloo_file": true, "baloo_file_extr": true, "recollindex": true,
}

// pacer holds back programs that ask registries for one new manifest after
// another. Each has a bucket of its own, so that nobody waits for another. It is
// safe for concurrent use.
type pacer struct {
	limit  rate.Limit // set once: a second; 0 holds nobody back
	log    *slog.Logger
	report func(path string, err error)

	mu      sync.Mutex
	callers *simplelru.LRU[Caller, *paced] // guarded by mu
}

// paced is what is known of one program.
type paced struct {
	bucket *rate.Limiter
	told   sync.Once
}

func newPacer(perSecond int, log *slog.Logger, report func(string, error)) *pacer {
	callers, err := simplelru.NewLRU[Caller, *paced](pacedCallers, nil)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return &pacer{limit: rate.Limit(perSecond), log: log, report: report, callers: callers}
}

// admit returns when the caller may have a request for a manifest: at once where
// what is asked about is known, since that costs no new one. The error is
// [ErrCrawler], or why ctx ended.
func (p *pacer) admit(ctx context.Context, known bool) error {
	if p.shuts(ctx) {
		return ErrCrawler
	}
	caller := callerOf(ctx)
	// Of callers in other PID namespaces nothing is known: together in one bucket
	// they would wait for each other.
	if p.limit == 0 || known || caller.Process == 0 {
		return nil
	}
	c := p.of(caller)
	now := time.Now()
	turn := c.bucket.ReserveN(now, 1)
	pause := turn.DelayFrom(now)
	if pause == 0 {
		return nil
	}
	if pause > maxPause {
		turn.CancelAt(now) // those who come later do not wait for it as well
		pause = maxPause
	}
	c.told.Do(func() {
		p.log.Warn("a program asks for many new manifests; it is held back", "process", caller.Process, "name", caller.Name,
			"perSecond", int(p.limit))
	})
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// shuts says whether no request at all is made for the caller.
func (p *pacer) shuts(ctx context.Context) bool {
	if p.limit == 0 {
		return false
	}
	caller := callerOf(ctx)
	if !crawlers[caller.Name] {
		return false
	}
	p.of(caller).told.Do(func() {
		p.log.Warn("a program indexes file systems; no request is made for it", "process", caller.Process, "name", caller.Name)
		p.report("", ErrCrawler)
	})
	return true
}

func (p *pacer) of(caller Caller) *paced {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.callers.Get(caller)
	if !ok {
		c = &paced{bucket: rate.NewLimiter(p.limit, paceBurst)}
		p.callers.Add(caller, c)
	}
	return c
}
