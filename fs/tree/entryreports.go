package tree

import (
	"fmt"
	"sync"
)

// entryReports reports the first few entries of a layer that are not shown: a hostile one
// can have millions.
type entryReports struct {
	report func(error)

	mu sync.Mutex
	n  int // guarded by mu
}

// reportedEntries is how many of a layer are reported.
const reportedEntries = 20

func (r *entryReports) add(err error) {
	r.mu.Lock()
	r.n++
	n := r.n
	r.mu.Unlock()
	switch {
	case n < reportedEntries:
		r.report(err)
	case n == reportedEntries:
		r.report(fmt.Errorf("%w; there are more", err))
	}
}
