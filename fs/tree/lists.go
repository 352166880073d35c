package tree

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// listCount bounds how many lists of tags are in memory.
	listCount = 1024
	// listedTags bounds how many names are in all of them together, some 200 MB
	// at most: two of the largest lists, or twenty of the largest known.
	listedTags = 2 * maxTags
)

// lists keeps the lists of tags that were used last, one a repository. A reader
// goes on with a list that is dropped. It is safe for concurrent use.
type lists struct {
	mu    sync.Mutex
	kept  *simplelru.LRU[string, *countedList] // guarded by mu; by the repository's name
	names int                                  // guarded by mu; in all of kept
}

// A countedList is a list, and how many of its names were counted.
type countedList struct {
	*tagList
	counted int // guarded by lists.mu
}

func newLists() *lists {
	l := &lists{}
	kept, err := simplelru.NewLRU(listCount, func(_ string, dropped *countedList) { l.names -= dropped.counted })
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	l.kept = kept
	return l
}

// use returns the repository's list where it is good, else a new one in its
// place, which the caller fills.
func (l *lists) use(repository string, good func(*tagList) bool) (list *tagList, isNew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.kept.Get(repository); ok {
		if good(c.tagList) {
			return c.tagList, false
		}
		l.kept.Remove(repository) // calls the function above, so that names stays right
	}
	c := &countedList{tagList: &tagList{index: map[string]bool{}}}
	l.kept.Add(repository, c)
	return c.tagList, true
}

// get returns the repository's list, whatever its age.
func (l *lists) get(repository string) (*tagList, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.kept.Get(repository)
	if !ok {
		return nil, false
	}
	return c.tagList, true
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

// grew takes note of one more name in a list, and drops those used longest ago
// where there are too many.
func (l *lists) grew(repository string, list *tagList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.kept.Peek(repository)
	if !ok || c.tagList != list {
		return // dropped already
	}
	c.counted++
	l.names++
	for l.names > listedTags && l.kept.Len() > 1 {
		l.kept.RemoveOldest()
	}
}
