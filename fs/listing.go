package fs

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// linger is how long a READDIR that has entries to answer with waits for one
// more: long beside the time that the tree needs for one that it knows, short
// beside a request.
const linger = 5 * time.Millisecond

const (
	// keptBehind is how many entries that were handed out are kept at least. The kernel
	// comes back for those of a READDIR that a program had no room for: it has a MiB at
	// most, and an entry in it 32 bytes at least.
	keptBehind = 1 << 15
	// keptAhead is how many are taken from the tree before anybody has read so far.
	keptAhead = 1 << 15
)

// listing is one open directory. A goroutine takes the entries from the tree, from
// the first read on. Those around the place that is read are kept, which are all of
// most directories: one who is interrupted loses none. A program may go back to any of
// them (rewinddir, seekdir): where that is long ago the directory is listed anew, up
// to there.
type listing struct {
	dir *dir

	mu      sync.Mutex
	stop    context.CancelFunc // guarded by mu; ends the goroutine; nil before the first read
	first   int                // guarded by mu; how many entries came before those that are kept
	entries []tree.Entry       // guarded by mu; what came since, so far
	ended   bool               // guarded by mu; no more comes
	err     error              // guarded by mu; why it ended early
	grown   chan struct{}      // guarded by mu; closed when one of the above changes; nil while nobody waits
	at      int                // guarded by mu; the next to hand out, which may be one that did not come yet
	read    chan struct{}      // guarded by mu; closed when at changes; nil while the goroutine has room
	// last is the context of the READDIR that was handed the last entry, to know
	// it by: go-fuse makes one for each. Nothing is asked of it.
	last context.Context // guarded by mu
}

// came is how many entries came. l.mu is held.
func (l *listing) came() int { return l.first + len(l.entries) }

var (
	_ fusefs.FileReaddirenter = (*listing)(nil)
	_ fusefs.FileSeekdirer    = (*listing)(nil)
	_ fusefs.FileReleasedirer = (*listing)(nil)
	_ fusefs.FileLookuper     = (*listing)(nil)
)

// Readdirent returns the next entry; nil ends the answer to the READDIR of ctx,
// and the directory where that is empty. A READDIR that has something to answer
// with neither waits for the registry nor fails: what is known appears, and the
// next one waits, or has the error.
func (l *listing) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	e, begun := l.take(ctx)
	if e != nil {
		return e, 0
	}
	if begun {
		soon, cancel := context.WithTimeout(context.Background(), linger)
		defer cancel()
		_ = l.await(soon) // what it says the next READDIR will hear
	} else if errno := l.dir.do(ctx, "", l.await); errno != 0 {
		return nil, errno
	}
	e, _ = l.take(ctx)
	return e, 0
}

// Lookup is what a READDIRPLUS asks of each entry that it is handed. The kernel sends those where
// programs look at what they list. What is in an image costs nothing then; elsewhere
// the entry goes without, since a name may cost a request.
func (l *listing) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if _, ok := l.dir.tree.(tree.Attributed); !ok {
		return nil, syscall.EAGAIN
	}
	return l.dir.Lookup(ctx, name, out)
}

// take hands out the next entry, if it is there. begun says whether the READDIR
// of ctx had one before.
func (l *listing) take(ctx context.Context) (e *fuse.DirEntry, begun bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begun = l.last == ctx
	if l.at >= l.came() {
		return nil, begun
	}
	next := l.entries[l.at-l.first]
	l.last = ctx
	l.goTo(l.at + 1)
	return &fuse.DirEntry{Name: next.Name, Mode: unixType(next.Mode), Ino: next.Ino, Off: uint64(l.at)}, begun
}

// await returns when there is an entry to hand out, or why there is none: nil at
// the end.
func (l *listing) await(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == nil {
		// It outlives this call, and whoever is interrupted in it; but it is for the
		// same caller.
		var own context.Context
		own, l.stop = context.WithCancel(context.WithoutCancel(ctx))
		go l.fill(own)
	}
	for l.at >= l.came() && !l.ended {
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		var err error
		select {
		case <-grown:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	if l.at < l.came() {
		return nil
	}
	return l.err
}

// goTo goes to an entry, and forgets those that are far behind it. l.mu is held.
func (l *listing) goTo(at int) {
	l.at = at
	l.forget()
	if l.read != nil && l.came()-l.at <= keptAhead/2 {
		close(l.read)
		l.read = nil
	}
}

// forget drops the entries that are far behind, many at once. l.mu is held.
func (l *listing) forget() {
	if n := min(l.at, l.came()) - l.first; n >= 2*keptBehind {
		n -= keptBehind
		l.entries = slices.Delete(l.entries, 0, n)
		l.first += n
	}
}

// fill takes all entries from the tree, until it is stopped.
func (l *listing) fill(ctx context.Context) {
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		for e, err := range l.dir.shown().List(ctx) {
			if err != nil {
				return err
			}
			l.change(ctx, func() { l.entries = append(l.entries, e); l.forget() })
			if err := l.room(ctx); err != nil {
				return err
			}
		}
		return nil
	}()
	l.change(ctx, func() { l.ended, l.err = true, err })
}

// change changes what those who wait wait for, unless ctx, of the goroutine that
// does it, ended: its entries count no longer then.
func (l *listing) change(ctx context.Context, change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	change()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// room waits while there are enough entries that nobody has read, until ctx ends, which
// is the error.
func (l *listing) room(ctx context.Context) error {
	l.mu.Lock()
	if ctx.Err() != nil || l.came()-l.at < keptAhead {
		l.mu.Unlock()
		return ctx.Err()
	}
	l.read = make(chan struct{})
	read := l.read
	l.mu.Unlock()
	select {
	case <-read:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Seekdir goes to where an earlier entry ended; 0 is the beginning, where a
// listing that failed begins anew. It may be one that another listing has handed out:
// the kernel, which keeps some for all who open the directory, forgets them in the
// middle, and asks on.
func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off > math.MaxInt {
		return syscall.EINVAL
	}
	at := int(off)
	if at < l.first || at == 0 && l.err != nil {
		l.end()
	}
	l.goTo(at)
	return 0
}

// end forgets all that came, and why no more did. l.mu is held.
func (l *listing) end() {
	if l.stop != nil {
		l.stop()
	}
	l.stop, l.first, l.entries, l.ended, l.err, l.at, l.last, l.read = nil, 0, nil, false, nil, 0, nil, nil
}

// Releasedir ends the listing.
func (l *listing) Releasedir(context.Context, uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}
