package cache

import (
	"container/list"
	"context"
	"sync"
)

const (
	// windowSize is how much is fetched at once of what is not kept, in bytes: few
	// enough for one who reads a little here and there, and much for a round trip.
	windowSize = 1 << 20
	// windowChunks is the same in chunks.
	windowChunks = windowSize / chunkSize
	// maxWindows is how many windows a store has in memory, of all blobs together.
	maxWindows = 64
	// windowsAhead is how many are fetched ahead of one who reads in order.
	windowsAhead = 4
)

// windows is the memory of a store for what is not kept on disk. Windows that
// somebody waits for or copies from stay; of the others the one that was used
// longest ago makes room for the next. Who waits for room holds no window, so that
// there is some as soon as anybody has copied his, or the source has failed him.
type windows struct {
	mu   sync.Mutex
	all  map[windowKey]*window // guarded by mu
	idle list.List             // guarded by mu; of *window that nobody uses, oldest first
	n    int                   // guarded by mu; of bytes in use, in windows
	// freed is closed when a window comes to be idle.
	freed chan struct{} // guarded by mu
}

type windowKey struct {
	content *content
	n       int
}

// A window is a piece of a blob in memory.
type window struct {
	key  windowKey
	done chan struct{} // closed when bytes or err are set

	bytes []byte
	err   error

	users int           // guarded by windows.mu
	at    *list.Element // guarded by windows.mu; where it is in idle
	gone  bool          // guarded by windows.mu; no longer in all
}

// take returns a window with one more user, who gives it back. Where it is not there
// it is made, which the caller then has to fill. Where there is no room for it, it waits
// until ctx ends, or returns nil if it is not to wait.
func (w *windows) take(ctx context.Context, k windowKey, wait bool) (found *window, made bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if found, ok := w.all[k]; ok {
			if found.users++; found.at != nil {
				w.idle.Remove(found.at)
				found.at = nil
			}
			return found, false, nil
		}
		if w.n >= maxWindows {
			if oldest := w.idle.Front(); oldest != nil {
				w.forget(oldest.Value.(*window))
			}
		}
		if w.n < maxWindows {
			if w.all == nil {
				w.all = map[windowKey]*window{}
			}
			found = &window{key: k, done: make(chan struct{}), users: 1}
			w.all[k] = found
			w.n++
			return found, true, nil
		}
		if !wait {
			return nil, false, nil
		}
		if w.freed == nil {
			w.freed = make(chan struct{})
		}
		freed := w.freed
		w.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		w.mu.Lock()
		if err != nil {
			return nil, false, err
		}
	}
}

// forget takes a window that nobody uses out of the memory. mu is held.
func (w *windows) forget(old *window) {
	if old.at != nil {
		w.idle.Remove(old.at)
		old.at = nil
	}
	if w.all[old.key] == old {
		delete(w.all, old.key)
	}
	w.n--
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
}

// give takes a user off a window. One that failed, or that is of no more use, is
// forgotten with the last.
func (w *windows) give(used *window, ofUse bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ofUse {
		used.gone = true
		if w.all[used.key] == used { // who comes for it makes another
			delete(w.all, used.key)
		}
	}
	if used.users--; used.users > 0 {
		return
	}
	if used.gone {
		w.forget(used)
		return
	}
	used.at = w.idle.PushBack(used)
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
}

// has says whether a window is there or on its way.
func (w *windows) has(k windowKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.all[k]
	return ok
}

// came says whether a window is there.
func (w *windows) came(k windowKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := w.all[k]
	if !ok {
		return false
	}
	select {
	case <-one.done:
		return true
	default:
		return false
	}
}

// drop forgets the windows of a content that nobody uses any more.
func (w *windows) drop(c *content) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, one := range w.all {
		if k.content == c && one.users == 0 {
			w.forget(one)
		}
	}
}
