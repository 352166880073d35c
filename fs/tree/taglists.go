package tree

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// listCount bounds how many lists of tags are in memory.
	listCount = 1024
	// bytesOfTag is what a name in a list takes, in the list and in its index: most
	// are short.
	bytesOfTag = 100
)

// lists keeps the lists of tags that were used last, one a repository, and counts
// who reads each. A reader goes on with a list that is dropped; one that is
// neither kept nor read ends. It is safe for concurrent use.
type lists struct {
	limit int // set once: of names in all lists together; one of them is kept in any case

	mu    sync.Mutex
	kept  *simplelru.LRU[string, *tagList] // guarded by mu; by the repository's name
	names int                              // guarded by mu; in all of kept
}

func newLists(limit int) *lists {
	l := &lists{limit: limit}
	kept, err := simplelru.NewLRU(listCount, func(_ string, dropped *tagList) {
		l.names -= dropped.counted
		dropped.kept = false
		dropped.endUnwanted()
	})
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	l.kept = kept
	return l
}

// use returns the repository's list where it is good, else a new one in its
// place, which the caller fills. He reads it until he leaves it.
func (l *lists) use(repository string, good func(*tagList) bool) (list *tagList, isNew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := newTagList()
	if list, ok := l.kept.Get(repository); ok {
		if good(list) {
			list.readers++
			return list, false
		}
		next.before, next.followsFailure = list.whole(), list.failed()
		l.kept.Remove(repository) // calls the function above, so that names stays right
	}
	next.kept, next.readers = true, 1
	l.kept.Add(repository, next)
	l.count(next, len(next.before.all()))
	return next, true
}

// leave takes a reader off a list.
func (l *lists) leave(list *tagList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list.readers--
	list.endUnwanted()
}

// endUnwanted tells the one who fills a list that it is for nobody. lists.mu is
// held.
func (l *tagList) endUnwanted() {
	if !l.kept && l.readers == 0 {
		close(l.unwanted)
	}
}

// get returns the repository's list, whatever its age.
func (l *lists) get(repository string) (*tagList, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Get(repository)
}

// forget drops the lists of the repositories in a scope. Of one that is refreshed
// for a tag alone too: whether it has the tag is among what is asked.
func (l *lists) forget(s scope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, repository := range l.kept.Keys() {
		if s.has(repository) {
			l.kept.Remove(repository)
		}
	}
}

// grew takes note of n more names in a list, and drops those lists used longest
// ago where there are too many. Of a list that was dropped it is its readers' who
// hold its names.
func (l *lists) grew(list *tagList, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(list, n)
}

// count does that; l.mu is held.
func (l *lists) count(list *tagList, n int) {
	if !list.kept {
		return
	}
	list.counted += n
	l.names += n
	for l.names > l.limit && l.kept.Len() > 1 {
		l.kept.RemoveOldest()
	}
}
