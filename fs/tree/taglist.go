package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

const (
	// listLimit ends a list of tags that takes for ever.
	listLimit = 10 * time.Minute
	// maxTags bounds a list in memory: ten times the largest known.
	maxTags = 1_000_000
)

// A tagList is one pass over a repository's tags. It fills in the background,
// page by page, and any number of readers follow it; it outlives them where it is
// kept.
type tagList struct {
	kept     bool          // guarded by lists.mu, as what follows
	readers  int           // how many follow it
	counted  int           // how many of its names were counted
	unwanted chan struct{} // closed when it is neither kept nor read

	followsFailure bool // set once by use: the one before it had to be answered by another

	mu      sync.Mutex
	before  *tagList        // guarded by mu; the last one that came to its end, until this one does; nil is none
	instead *tagList        // guarded by mu; what answers where the registry fails or is late; nil is nothing
	names   []string        // guarded by mu; grows only
	index   map[string]bool // guarded by mu; the same names
	ended   bool            // guarded by mu
	err     error           // guarded by mu; why it ended early
	endAt   time.Time       // guarded by mu; when it ended
	grown   chan struct{}   // guarded by mu; closed when names or ended change; nil while nobody waits
}

func newTagList() *tagList {
	return &tagList{index: map[string]bool{}, unwanted: make(chan struct{})}
}

// tagNames yields the repository's tags, from the list that is under way or
// fresh, else from a new one.
func (r *repository) tagNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if r.tree.opts.Offline || r.tree.pacer.shuts(ctx) && !r.hasList() {
			r.keptNames(ctx, yield)
			return
		}
		list, err := r.currentList()
		if err != nil {
			yield("", err)
			return
		}
		defer r.tree.lists.leave(list)
		late := time.NewTimer(r.tree.staleWait)
		defer late.Stop()
		for next := 0; ; {
			names, grown, err := list.after(next)
			if err != nil || next == 0 && len(names) == 0 && grown != nil {
				if rest, ok := list.rest(next + len(names)); ok {
					names, grown, err = slices.Concat(names, rest), nil, nil
				}
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			next += len(names)
			switch {
			case err != nil:
				yield("", err)
				return
			case grown == nil:
				return
			}
			select {
			case <-grown:
			case <-late.C:
				if next == 0 { // the list goes on, for those who come later
					r.fallBack(list, errTooSlow)
				}
			case <-ctx.Done():
				yield("", context.Cause(ctx))
				return
			}
		}
	}
}

// hasList says whether there is a list that costs no request.
func (r *repository) hasList() bool {
	list, ok := r.tree.lists.get(r.name())
	return ok && list.good(r.tree.now(), r.tree.opts.ListTTL)
}

// currentList returns a list that may still be used, or starts one. The caller
// leaves it.
func (r *repository) currentList() (*tagList, error) {
	lists := r.tree.lists
	good := func(list *tagList) bool { return list.good(r.tree.now(), r.tree.opts.ListTTL) }
	list, isNew := lists.use(r.name(), good)
	if isNew && !r.tree.detach(listLimit, list.unwanted, func(ctx context.Context) { r.fill(ctx, list) }) {
		list.end(errClosed, r.tree.now())
		lists.leave(list)
		return nil, errClosed
	}
	return list, nil
}

// listed says whether a fresh list has the tag, and until when that is good.
func (r *repository) listed(tag string) (until time.Time, ok bool) {
	list, ok := r.tree.lists.get(r.name())
	if !ok {
		return time.Time{}, false
	}
	return list.has(tag, r.tree.now(), r.tree.opts.ListTTL)
}

func (r *repository) fill(ctx context.Context, list *tagList) {
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("tags of %s: panic: %v", r.name(), p)
			}
		}()
		for tag, err := range r.remote.Tags(ctx) {
			if err != nil {
				return err
			}
			isNew, err := list.add(tag)
			if err != nil {
				return fmt.Errorf("tags of %s: %w", r.name(), err)
			}
			if isNew {
				r.tree.lists.grew(list, 1)
			}
		}
		return nil
	}()
	if err == nil {
		r.reportLocal("tags", r.local.Put())
		if list.followsFailure {
			r.tree.opts.Logger.Info("the registry lists its tags again", "repository", r.name())
		}
	} else {
		r.fallBack(list, err)
	}
	r.tree.lists.grew(list, -list.end(err, r.tree.now()))
}

var errTooManyTags = errors.New("more than a million tags")

// add adds a tag that is new: pages may overlap while tags are pushed.
func (l *tagList) add(tag string) (isNew bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index[tag] {
		return false, nil
	}
	if len(l.names) == maxTags {
		return false, errTooManyTags
	}
	l.names = append(l.names, tag)
	l.index[tag] = true
	l.wake()
	return true, nil
}

// end takes note that no more names come. Of a list that is whole nobody needs what
// there was before: that many names are dropped.
func (l *tagList) end(err error, now time.Time) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.err, l.endAt = true, err, now
	if err == nil {
		dropped = len(l.before.all()) + len(l.instead.all())
		l.before, l.instead = nil, nil
	}
	l.wake()
	return dropped
}

// wake tells the readers that wait. l.mu is held.
func (l *tagList) wake() {
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// after returns what came after the first n names, and why there will be no
// more. grown is closed when there is more, and nil at the end.
func (l *tagList) after(n int) (names []string, grown <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names = l.names[n:len(l.names):len(l.names)]
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
func (l *tagList) good(now time.Time, ttl time.Duration) bool {
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

// has says whether the tag is in the list, and until when that is good. What
// came before a failure did come.
func (l *tagList) has(tag string, now time.Time, ttl time.Duration) (until time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.index[tag] && !l.ended:
		return now.Add(ttl), true
	case l.index[tag]:
		return l.endAt.Add(ttl), within(l.endAt, now, ttl)
	case l.instead == nil || !l.instead.index[tag]:
		return time.Time{}, false
	case !l.ended:
		return now.Add(staleFor), true
	default:
		return l.endAt.Add(staleFor), within(l.endAt, now, staleFor)
	}
}
