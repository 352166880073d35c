package tree

import (
	"errors"
	"fmt"
	"time"
)

// fallBack has a list that failed with err, or is late, answered by the tags that
// are known, if there are any: those that the registry listed last, and those that
// have been looked up, as far as each was confirmed lately enough. The reason is
// reported, since whoever lists the directory gets no error, and it is a line in the
// log when it begins.
func (r *repository) fallBack(list *nameList, err error) {
	if isAnswer(err) || errors.Is(err, errClosed) || errors.Is(err, errUnwanted) {
		return
	}
	last := r.lastNames(list)
	if len(last.names) == 0 {
		return
	}
	list.falling.Lock()
	defer list.falling.Unlock()
	if !list.mayFall() {
		return
	}
	if !list.followsFailure {
		r.tree.opts.Logger.Warn("the registry cannot list its tags; those are listed that are known",
			"repository", r.name(), "tags", len(last.names), "error", err)
	}
	// Before there is an answer, so that whoever reads it finds out why it is so.
	r.tree.opts.Report(r.name()+"/tags", fmt.Errorf("%d tags are listed that are known, there may be others: %w", len(last.names), err))
	var failure error // of a list that has come to its end
	if !errors.Is(err, errTooSlow) {
		failure = err
	}
	r.tree.lists.grew(list, len(last.names))
	if !list.setInstead(last, failure, r.tree.now()) {
		r.tree.lists.grew(list, -len(last.names))
	}
}

// lastNames are the tags that are known without the registry. What a tag of the
// store means is looked at, so that no name is listed that then cannot be used.
func (r *repository) lastNames(list *nameList) *nameList {
	last, now := newNameList(), r.tree.now()
	if r.tree.opts.StaleIfError == 0 {
		return last
	}
	if before := list.whole(); before != nil && within(before.endAt, now, r.tree.opts.StaleIfError) {
		for _, tag := range before.names { // it ended, and changes no more
			_, _ = last.add(tag) // they were no more than a list may have
		}
	}
	tags, err := r.local.Tags()
	if err != nil {
		r.reportLocal("tags", err)
	}
	for _, tag := range tags {
		if last.index[tag] {
			continue
		}
		record, ok := r.record(tag)
		if !ok {
			continue
		}
		if _, ok := r.servable(record, now); !ok {
			continue
		}
		if _, err := last.add(tag); err != nil {
			break
		}
	}
	return last
}

// mayFall says whether the list has still to be answered by another one: another
// reader who waited for too long may have seen to that, or it ended meanwhile.
func (l *nameList) mayFall() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended && l.instead == nil
}

// setInstead has the list answered by another one, which changes no more. With a
// failure the list ends at the same moment, so that it is as old as its answer. It says
// false where the list ended before.
func (l *nameList) setInstead(other *nameList, failure error, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.instead = other
	if failure != nil {
		l.ended, l.err, l.endAt = true, failure, now
	}
	l.wake()
	return true
}

// rest is what answers in place of names that do not come: those that did not come.
// l.mu is held, and there is such a list.
func (l *nameList) rest() (names []string) {
	for _, name := range l.instead.names {
		if !l.index[name] {
			names = append(names, name)
		}
	}
	return names
}

// all are the names of a list that changes no more; nil has none.
func (l *nameList) all() []string {
	if l == nil {
		return nil
	}
	return l.names
}

// failed says whether the list had to be answered by another.
func (l *nameList) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.instead != nil
}

// whole is the last list of the repository that came to its end: this one, or the
// one before the failure; nil where there is none.
func (l *nameList) whole() *nameList {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended && l.err == nil {
		return l
	}
	return l.before
}
