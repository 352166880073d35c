package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// listLimit ends a list of names that takes for ever.
	listLimit = 10 * time.Minute
	// maxNames bounds a list in memory: ten times the largest known.
	maxNames = 1_000_000
	// maxNameBytes bounds what the names in it have together: a name may be longer than
	// those of any honest list are on average.
	maxNameBytes = 64 << 20
)

// A nameList is one pass over the names of a repository's tags, or of a host's
// repositories. It fills in the background, page by page, and any number of readers
// follow it; it outlives them where it is kept.
type nameList struct {
	kept     bool          // guarded by lists.mu, as what follows
	readers  int           // how many follow it
	counted  int           // how many of its names were counted
	unwanted chan struct{} // closed when it is neither kept nor read

	followsFailure bool // set once by use: the one before it had to be answered by another

	falling sync.Mutex // held by who has the list answered by another, and tells of it first

	mu      sync.Mutex
	before  *nameList       // guarded by mu; the last one that came to its end, until this one does; nil is none
	instead *nameList       // guarded by mu; what answers where the registry fails or is late; nil is nothing
	names   []string        // guarded by mu; grows only
	index   map[string]bool // guarded by mu; the same names
	bytes   int             // guarded by mu; of the names
	sorted  []string        // guarded by mu; the same in order, once somebody wanted them; never changed
	ended   bool            // guarded by mu
	err     error           // guarded by mu; why it ended early
	endAt   time.Time       // guarded by mu; when it ended
	tooLate bool            // guarded by mu; somebody waited for more in vain
	grown   chan struct{}   // guarded by mu; closed when names or ended change; nil while nobody waits
}

func newNameList() *nameList {
	return &nameList{index: map[string]bool{}, unwanted: make(chan struct{})}
}

// list returns the list that is kept under a name where it is good, or starts one,
// which fill fills and ends. The caller leaves it.
func (t *Tree) list(name string, good func(*nameList) bool, fill func(context.Context, *nameList)) (*nameList, error) {
	list, isNew := t.lists.use(name, good)
	if isNew && !t.detach(listLimit, list.unwanted, func(ctx context.Context) { fill(ctx, list) }) {
		t.endList(list, errClosed)
		t.lists.leave(list)
		return nil, errClosed
	}
	return list, nil
}

// fill adds names to a list as they come. Messages call it what.
func (t *Tree) fill(list *nameList, what string, names iter.Seq2[string, error]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", what, p)
		}
	}()
	for name, err := range names {
		if err != nil {
			return err
		}
		isNew, err := list.add(name)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if isNew {
			t.lists.grew(list, 1)
		}
	}
	return nil
}

// endList takes note that no more names come into a list.
func (t *Tree) endList(list *nameList, err error) {
	t.lists.grew(list, -list.end(err, t.now()))
}

// follow yields the names of a list as they come, after the first n. It ends with why no
// more will, or with why ctx ended; patience is how long it waits for one more, 0 for
// ever, [atOnce] not at all.
func (l *nameList) follow(ctx context.Context, n int, patience time.Duration, yield func(string) bool) error {
	for {
		names, grown, err := l.after(n)
		for _, name := range names {
			if !yield(name) {
				return nil
			}
		}
		n += len(names)
		if err != nil || grown == nil {
			return err
		}
		if err := waitFor(ctx, grown, patience); err != nil {
			return err
		}
	}
}

// atOnce is no patience.
const atOnce time.Duration = -1

// waitFor waits until done is closed, or says why it does no longer.
func waitFor(ctx context.Context, done <-chan struct{}, patience time.Duration) error {
	if patience != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, errTooSlow)
		defer cancel()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errTooManyNames = errors.New("more than a million names, or than 64 MiB of them")

// add adds a name that is new: pages may overlap while there come others.
func (l *nameList) add(name string) (isNew bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index[name] {
		return false, nil
	}
	if len(l.names) == maxNames || l.bytes+len(name) > maxNameBytes {
		return false, errTooManyNames
	}
	l.bytes += len(name)
	l.names = append(l.names, name)
	l.index[name] = true
	l.wake()
	return true, nil
}

// end takes note that no more names come. Of a list that is whole nobody needs what
// there was before: that many names are dropped. The end of a list that had one is no
// news.
func (l *nameList) end(err error, now time.Time) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0
	}
	l.ended, l.err, l.endAt = true, err, now
	if err == nil {
		dropped = len(l.before.all()) + len(l.instead.all())
		l.before, l.instead = nil, nil
	}
	l.wake()
	return dropped
}

// wake tells the readers that wait. l.mu is held.
func (l *nameList) wake() {
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// after returns what came after the first n names, and why there will be no
// more. grown is closed when there is more, and nil at the end. What answers instead of
// the list ends it: where the list failed, and for one who has had nothing of it.
func (l *nameList) after(n int) (names []string, grown <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names = l.names[min(n, len(l.names)):len(l.names):len(l.names)]
	if l.instead != nil && (l.ended || n == 0 && len(names) == 0) {
		return slices.Concat(names, l.rest()), nil, nil
	}
	if l.ended {
		return names, nil, l.err
	}
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return names, l.grown, nil
}

// good says whether the list may answer a reader who comes now: while it fills,
// for its TTL, and a failure for a moment. The TTL begins at its end: of a list
// that takes longer than that to arrive, no name would be good otherwise, and
// each a request.
func (l *nameList) good(now time.Time, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.ended:
		return true
	case l.err != nil && l.instead != nil:
		return within(l.endAt, now, staleFor)
	case l.err != nil:
		return within(l.endAt, now, failedFor)
	default:
		return within(l.endAt, now, ttl)
	}
}

// has says whether the name is in the list, and until when that is good. What
// came before a failure did come.
func (l *nameList) has(name string, now time.Time, ttl time.Duration) (until time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.index[name] && !l.ended:
		return now.Add(ttl), true
	case l.index[name]:
		return l.endAt.Add(ttl), within(l.endAt, now, ttl)
	case l.instead == nil || !l.instead.index[name]:
		return time.Time{}, false
	case !l.ended:
		return now.Add(staleFor), true
	default:
		return l.endAt.Add(staleFor), within(l.endAt, now, staleFor)
	}
}

// lacks says whether a list that is whole and good does not have the name: nobody
// need be asked for it.
func (l *nameList) lacks(name string, now time.Time, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended && l.err == nil && !l.index[name] && within(l.endAt, now, ttl)
}

// inOrder returns the names of a list that has ended, in order.
func (l *nameList) inOrder() (names []string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended && l.sorted == nil {
		l.sorted = slices.Sorted(slices.Values(l.names))
	}
	return l.sorted, l.ended
}

// below yields of names in order those that are called as a path or lie below it, one
// for each that is directly there: a listing of a directory does not go through all
// that is in the directories below.
func below(sorted []string, path string, yield func(string) bool) {
	prefix := path + "/"
	if path == "" {
		prefix = ""
	} else if _, ok := slices.BinarySearch(sorted, path); ok && !yield(path) {
		return
	}
	i, _ := slices.BinarySearch(sorted, prefix)
	for i < len(sorted) && strings.HasPrefix(sorted[i], prefix) {
		if !yield(sorted[i]) {
			return
		}
		first, _, deeper := strings.Cut(sorted[i][len(prefix):], "/")
		i++
		if deeper {
			n, _ := slices.BinarySearch(sorted[i:], prefix+first+"0") // which follows the slash
			i += n
		}
	}
}
