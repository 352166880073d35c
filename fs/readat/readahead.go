package readat

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// sequentialAfter is how many bytes in a row make a reader sequential: tar(1)
	// listing an archive reads two or three records of 10 KiB around each header
	// and must not start a download of the layer behind it; cat(1) reads as much
	// as st_blksize says.
	sequentialAfter = 256 << 10
	// windowGrowth is how many times what has been read in a row is fetched ahead:
	// one who stops early has fetched no more than three times what he read, and
	// five round trips open a window of 64 MiB.
	windowGrowth = 2
	// minStep and maxStep bound by how much is fetched in one request: a shorter
	// one is all round trip, a longer one keeps others off the connection. A
	// registry has work with each request, as much as with some megabytes.
	minStep = 256 << 10
	maxStep = 32 << 20
	// shortStep is what is worth more than a round trip that is hidden.
	shortStep = 4 << 20
	// firstStep is how much is fetched at once before anything has come: how fast
	// that comes says over how many connections the rest is fetched.
	firstStep = 512 << 10
	// enough is a rate, in bytes a second, beyond which more connections bring
	// nothing but work: what one reader takes on an ordinary machine.
	enough = 500e6
	// minConnections are used however fast one is: while one waits for an answer
	// the other brings something. maxConnections are for all readers together: more
	// than a host gets would only wait for each other.
	minConnections = 2
	maxConnections = 32
	// slack is how far out of order a reader may go and still count as
	// sequential, and how much he may skip in all: the kernel sends the READs of
	// one read(2) in parallel.
	slack = 1 << 20
)

// A Budget is shared by the open files of a process: it bounds by how much all
// their readers together are ahead of what was read, and over how many
// connections. Each sequential reader has an equal share, so that none starves.
// It is safe for concurrent use.
type Budget struct {
	bytes       int64
	connections int

	mu      sync.Mutex
	readers int64 // guarded by mu; those that fetch ahead
}

// NewBudget returns a budget of so many bytes, for readers that fetch over so
// many connections each.
func NewBudget(bytes int64, connections int) *Budget {
	return &Budget{bytes: bytes, connections: connections}
}

func (b *Budget) join(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers += n
}

// share is what one reader has of the bytes and of the connections.
func (b *Budget) share() (bytes int64, connections int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	readers := max(b.readers, 1)
	return b.bytes / readers, min(b.connections, max(maxConnections/int(readers), minConnections))
}

// An Ahead is a Reader for one open file: it recognises a sequential reader and
// has a window ahead of him fetched, over several connections. The window grows
// with what is read and is closed by a seek. It moves with the reader, so one
// who is slow, or stops, stops what is fetched for him.
type Ahead struct {
	Reader
	budget *Budget
	from   Prefetcher // nil where r is none

	mu       sync.Mutex
	next     int64 // guarded by mu; where a sequential reader goes on
	run      int64 // guarded by mu; bytes read in a row
	skipped  int64 // guarded by mu; bytes left out of that row
	started  int64 // guarded by mu; what was started ends here
	target   int64 // guarded by mu; the end of the window; 0 while it is closed
	window   int64 // guarded by mu; how far it is ahead of next
	share    int   // guarded by mu; of connections
	inFlight int   // guarded by mu; how many ranges are being fetched
	allowed  int   // guarded by mu; how many may be; 0 before the first has come
	stopped  bool  // guarded by mu
}

// ReadAhead returns r with read-ahead, which the caller stops. Where r is no
// Prefetcher, nothing is fetched.
func ReadAhead(r Reader, budget *Budget) *Ahead {
	p, _ := r.(Prefetcher)
	return &Ahead{Reader: r, budget: budget, from: p}
}

// Whole is told that all of it will be read, in order from its beginning: the
// window need not grow.
func (a *Ahead) Whole() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run = math.MaxInt64 / (windowGrowth + 1)
}

// ReadAt reads, and moves the window.
func (a *Ahead) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	// Before the read: the bytes wanted now and those wanted soon are then one
	// range, not two.
	a.advance(off, int64(len(p)))
	return a.Reader.ReadAt(ctx, p, off)
}

// Stop ends the read-ahead: what is being fetched is fetched to its end, and
// nothing after it.
func (a *Ahead) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut()
	a.stopped = true
}

// advance takes note of a read.
func (a *Ahead) advance(off, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from == nil || a.stopped {
		return
	}
	end := off + n
	if off < a.next-slack || off > a.next+slack {
		a.restart(end, n)
		return
	}
	// What is read again is no progress.
	due := min(off, a.next) // what lies before will not be read any more
	fresh := min(n, max(end-a.next, 0))
	late := min(n-fresh, a.skipped)
	a.run += fresh + late
	a.skipped += max(off-a.next, 0) - late
	a.next = max(a.next, end)
	if a.skipped > slack {
		a.restart(end, n)
		return
	}
	if a.run < sequentialAfter || a.skipped > a.run {
		return
	}
	if a.target == 0 {
		a.budget.join(1)
		a.started = 0
	}
	a.started = max(a.started, due)
	var bytes int64
	bytes, a.share = a.budget.share()
	a.window = min(windowGrowth*a.run, bytes)
	a.target = min(a.next+a.window, a.Size())
	a.fill()
}

// restart begins a row with a read of n bytes up to end. a.mu is held.
func (a *Ahead) restart(end, n int64) {
	a.shut()
	a.next, a.run, a.skipped = end, n, 0
}

// shut closes the window. a.mu is held.
func (a *Ahead) shut() {
	if a.target != 0 {
		a.target = 0
		a.budget.join(-1)
	}
}

// fill starts what there is room for. a.mu is held.
func (a *Ahead) fill() {
	allowed, longest := min(a.allowed, a.share), int64(maxStep)
	if allowed == 0 {
		allowed, longest = min(minConnections, a.share), firstStep
	}
	// Two steps more than connections: what is about to come to its end still has
	// one, and the next is asked for. Not where the steps would be short.
	step := a.window / int64(allowed+2)
	if step < shortStep {
		step = a.window / int64(allowed)
	}
	step = min(max(step, minStep), longest)
	// Whole steps: a window that moves by a read must not make a request of each.
	for a.inFlight < allowed && (a.target-a.started >= step || a.target == a.Size() && a.started < a.target) {
		r := &aheadRange{asked: time.Now()}
		end, started := a.from.Prefetch(a.started, min(step, a.target-a.started), func() { a.ready(r) })
		r.n, a.started = end-a.started, end
		if started {
			a.inFlight++
		}
	}
}

// An aheadRange is a range that is being fetched ahead.
type aheadRange struct {
	asked time.Time
	n     int64 // bytes; guarded by the mu of its Ahead
}

// ready starts what comes after a range that has come, or nearly so.
func (a *Ahead) ready(r *aheadRange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight--
	rate := float64(r.n) / max(time.Since(r.asked).Seconds(), 1e-6)
	a.allowed = max(int(math.Ceil(enough/rate)), minConnections)
	a.fill()
}
