package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
// page by page, and any number of readers follow it; it outlives them.
type tagList struct {
	started time.Time // set once

	mu    sync.Mutex
	names []string        // guarded by mu; grows only
	index map[string]bool // guarded by mu; the same names
	ended bool            // guarded by mu
	err   error           // guarded by mu; why it ended early
	endAt time.Time       // guarded by mu; when it ended
	grown chan struct{}   // guarded by mu; closed when names or ended change
}

// tagNames yields the repository's tags, from the list that is under way or
// fresh, else from a new one.
func (r *repository) tagNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		list, err := r.currentList(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for next := 0; ; {
			names, ended, err, grown := list.after(next)
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			next += len(names)
			if ended {
				if err != nil {
					yield("", err)
				}
				return
			}
			if len(names) > 0 {
				continue
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield("", context.Cause(ctx))
				return
			}
		}
	}
}

// currentList returns a list that may still be used, or starts one.
func (r *repository) currentList(ctx context.Context) (*tagList, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.tree.opts.Now()
	if r.list != nil && r.list.good(now, r.tree.opts.ListTTL) {
		return r.list, nil
	}
	list := &tagList{started: now, index: map[string]bool{}, grown: make(chan struct{})}
	if !r.tree.detach(ctx, listLimit, func(ctx context.Context) { r.fill(ctx, list) }) {
		return nil, errClosed
	}
	r.list = list
	return list, nil
}

// listed says whether a fresh list has the tag, and until when.
func (r *repository) listed(tag string) (until time.Time, ok bool) {
	r.mu.Lock()
	list := r.list
	r.mu.Unlock()
	until = time.Time{}
	if list == nil {
		return until, false
	}
	list.mu.Lock()
	defer list.mu.Unlock()
	until = list.started.Add(r.tree.opts.ListTTL)
	return until, list.index[tag] && r.tree.opts.Now().Before(until)
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
			if err := list.add(tag); err != nil {
				return fmt.Errorf("tags of %s: %w", r.name(), err)
			}
		}
		return nil
	}()
	if err == nil {
		r.tree.learn(r.name())
	}
	list.end(err, r.tree.opts.Now())
}

var errTooManyTags = errors.New("more than a million tags")

func (l *tagList) add(tag string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index[tag] { // pages may overlap while tags are pushed
		return nil
	}
	if len(l.names) == maxTags {
		return errTooManyTags
	}
	l.names = append(l.names, tag)
	l.index[tag] = true
	l.wake()
	return nil
}

func (l *tagList) end(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.err, l.endAt = true, err, now
	l.wake()
}

// wake tells the waiting readers. l.mu is held.
func (l *tagList) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// after returns what came after the first n names; grown is closed when there
// is more.
func (l *tagList) after(n int) (names []string, ended bool, err error, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.names[n:len(l.names):len(l.names)], l.ended, l.err, l.grown
}

// good says whether the list may answer a reader who comes now: while it fills,
// for its TTL, and a failure for a moment.
func (l *tagList) good(now time.Time, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.ended:
		return true
	case l.err != nil:
		return now.Before(l.endAt.Add(failedFor))
	default:
		return now.Before(l.started.Add(ttl))
	}
}
