package tree

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// listCount bounds how many lists of names are in memory.
	listCount = 1024
	// bytesOfName is what a name in a list takes, in the list and in its index: most
	// are short.
	bytesOfName = 100
)

// lists keeps the lists of names that were used last, one of tags a repository, and
// one of repositories a host, which is kept under the host's name, and counts who
// reads each. A reader goes on with a list that is dropped; one that is
// neither kept nor read ends. It is safe for concurrent use.
type lists struct {
	limit int // set once: of names in all lists together; one of them is kept in any case

	mu    sync.Mutex
	kept  *simplelru.LRU[string, *nameList] // guarded by mu; by the name of the repository or host
	names int                               // guarded by mu; in all of kept
}

func newLists(limit int) *lists {
	l := &lists{limit: limit}
	kept, err := simplelru.NewLRU(listCount, func(_ string, dropped *nameList) {
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

// use returns the list of a name where it is good, else a new one in its place, which
// the caller fills. He reads it until he leaves it.
func (l *lists) use(name string, good func(*nameList) bool) (list *nameList, isNew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := newNameList()
	if list, ok := l.kept.Get(name); ok {
		if good(list) {
			list.readers++
			return list, false
		}
		next.before, next.followsFailure = list.whole(), list.failed()
		l.kept.Remove(name) // calls the function above, so that names stays right
	}
	next.kept, next.readers = true, 1
	l.kept.Add(name, next)
	l.count(next, len(next.before.all()))
	return next, true
}

// leave takes a reader off a list.
func (l *lists) leave(list *nameList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list.readers--
	list.endUnwanted()
}

// endUnwanted tells the one who fills a list that it is for nobody. lists.mu is
// held.
func (l *nameList) endUnwanted() {
	if !l.kept && l.readers == 0 {
		close(l.unwanted)
	}
}

// get returns the list of a name, whatever its age.
func (l *lists) get(name string) (*nameList, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Get(name)
}

// forget drops the lists of the repositories in a scope. Of one that is refreshed
// for a tag alone too: whether it has the tag is among what is asked.
func (l *lists) forget(s scope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range l.kept.Keys() {
		if s.has(name) {
			l.kept.Remove(name)
		}
	}
}

// drop drops the list of a name.
func (l *lists) drop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.Remove(name)
}

// grew takes note of n more names in a list, and drops those lists used longest
// ago where there are too many. Of a list that was dropped it is its readers' who
// hold its names.
func (l *lists) grew(list *nameList, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(list, n)
}

// count does that; l.mu is held.
func (l *lists) count(list *nameList, n int) {
	if !list.kept {
		return
	}
	list.counted += n
	l.names += n
	for l.names > l.limit && l.kept.Len() > 1 {
		l.kept.RemoveOldest()
	}
}
