package cache

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// AutoFree is what [Options.MinFree] may be: it leaves a GiB free, or 5 % of a file
// system that is small.
const AutoFree = -1

const (
	autoFree        = 1 << 30
	autoFreePercent = 5
	// minStep and maxStep are how much is written between two looks at what the
	// directory takes, at least and at most, where a limit is near: each process
	// may pass it by that.
	minStep = 256 << 10
	maxStep = 64 << 20
	// slackParts is what part of a limit is made free at once, so that not each chunk
	// evicts.
	slackParts = 20
)

// maxBusy is how long another process may evict before this one does so beside it: it
// is stopped. Two at once remove more than they need to, nothing worse.
const maxBusy = 10 * time.Second

// maxBusyWait is how long a download that has no room left waits for the process that
// makes it, which takes milliseconds; busyPoll is how often it looks.
const (
	maxBusyWait = time.Second
	busyPoll    = 2 * time.Millisecond
)

// tellEvery is how often the log is told that what is read is not kept.
const tellEvery = time.Minute

// oversizeParts is of what part of what the directory may ever have a blob takes that is
// larger than that: it would evict all that is not open, for a beginning that the next
// such blob evicts.
const oversizeParts = 4

// plainParts is the same for the plain bytes of any layer: they are several times as
// many as those of its blob, which they are not to drive out, and how many they are
// nobody knows before the end of a pass.
const plainParts = 2

// errOversize is such a blob or layer, with its part taken.
var errOversize = errors.New("it is larger than the cache may be, and has its part of it")

// errFull is a cache that is as large as it may be, with all of it in use.
var errFull = errors.New("it is as large as it may be, and all in it is in use")

// bounds hold a cache directory to its limits while it is filled. Each process
// counts what it writes, and looks at what is there when that may have reached a
// limit; what others write it sees then.
type bounds struct {
	left atomic.Int64 // bytes that may be written before the next look

	mu        sync.Mutex   // held over disk I/O by the download that looks
	busySince time.Time    // guarded by mu; when another process was found to evict, and did so ever since
	evictions atomic.Int64 // how often anything was freed
}

// admit says that n bytes may be written, or is errFull.
func (s *Store) admit(n int64) error {
	if s.opts.MaxBytes <= 0 && s.opts.MinFree == 0 {
		return nil
	}
	b := &s.bounds
	if b.left.Add(-n) >= 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left.Add(-n) >= 0 {
		return nil // another has looked meanwhile
	}
	left, err := s.look(n)
	b.left.Store(left - n)
	return err
}

// trim holds the directory to its limits when it is opened: they may have been
// others before.
func (s *Store) trim() {
	if s.opts.MaxBytes <= 0 && s.opts.MinFree == 0 {
		return
	}
	s.bounds.mu.Lock()
	defer s.bounds.mu.Unlock()
	if left, err := s.look(0); err == nil {
		s.bounds.left.Store(left)
	}
}

// A margin is how far a directory is from a limit, in bytes.
type margin struct {
	room  int64 // until it is reached
	step  int64 // that may be written between two looks
	slack int64 // to make where there is too little
}

func marginOf(limit, room int64) margin {
	step := min(max(limit/64, minStep), maxStep)
	return margin{room: room, step: step, slack: max(limit/slackParts, 2*step)}
}

// look looks at what the directory takes, evicts where a limit is near, and returns
// how much may be written before the next look. It is errFull where not even n
// bytes may. bounds.mu is held.
func (s *Store) look(n int64) (left int64, err error) {
	for waited := time.Duration(0); ; waited += busyPoll {
		m, items, err := s.margin()
		if err != nil {
			return minStep, nil //nolint:nilerr // what is wrong with the directory, the write will say
		}
		busy := false
		if m.room-n < m.step {
			var freed int64
			freed, busy = s.makeRoomIn(items, m.slack-m.room+n)
			m.room += freed
		}
		switch {
		case m.room >= n:
			return min(max(m.step, m.room/8), max(m.room, n)), nil
		case !busy:
			return 0, errFull
		case waited >= maxBusyWait:
			return max(n, minStep), nil
		}
		// Each look that gave more would let this process pass the limit as often as it
		// looks.
		select {
		case <-time.After(busyPoll):
		case <-s.life.Done():
			return 0, errClosed
		}
	}
}

// margin is how far the nearest limit is. items are what is there, nil where
// nobody needed to know.
func (s *Store) margin() (m margin, items []item, err error) {
	m = margin{room: 1 << 62, step: maxStep, slack: maxStep}
	if limit := s.opts.MaxBytes; limit > 0 {
		if items, err = inventory(s.dir); err != nil {
			return m, nil, err
		}
		m = marginOf(limit, limit-bytesOf(items))
	}
	free, size, err := diskOf(s.dir)
	if err != nil {
		return m, nil, err
	}
	if least := leastFree(s.opts.MinFree, size); least > 0 {
		if other := marginOf(least, free-least); other.room < m.room {
			m = other
		}
	}
	return m, items, nil
}

// leastFree is what is to stay free of a file system of size bytes.
func leastFree(option, size int64) int64 {
	if option == AutoFree {
		return min(autoFree, size/100*autoFreePercent)
	}
	return option
}

// mostOf is how many bytes of a blob of size bytes may be kept.
func (s *Store) mostOf(size int64) int64 {
	if most := s.mostEver(); size > most {
		return most / oversizeParts
	}
	return size
}

// mostEver is how many bytes the directory may ever have.
func (s *Store) mostEver() int64 {
	most := int64(maxSize)
	if s.opts.MaxBytes > 0 {
		most = s.opts.MaxBytes
	}
	if _, disk, err := diskOf(s.dir); err == nil {
		most = min(most, disk-max(leastFree(s.opts.MinFree, disk), 0))
	}
	return most
}

// mostPlain is how many plain bytes of one layer may be kept.
func (s *Store) mostPlain() int64 { return s.mostEver() / plainParts }

// Fits says whether n bytes more have room in the directory, with all that it has in
// the way evicted. It is a guess: others fill the disk, too.
func (s *Store) Fits(n int64) bool {
	if limit := s.opts.MaxBytes; limit > 0 && n > limit {
		return false
	}
	free, size, err := diskOf(s.dir)
	if err != nil {
		return false
	}
	room := free - max(leastFree(s.opts.MinFree, size), 0)
	if n <= room {
		return true
	}
	items, err := inventory(s.dir)
	return err == nil && n <= room+bytesOf(items)
}

// makeRoomIn evicts from items, nil is all that there are, until need bytes are
// freed. busy says that another process is at it. bounds.mu is held.
func (s *Store) makeRoomIn(items []item, need int64) (freed int64, busy bool) {
	if known(s.dir) != nil {
		return 0, false // another has taken its place
	}
	unlock, locked, err := tryLockExclusive(filepath.Join(s.dir, lockName), evictorByte)
	if err != nil {
		return 0, false
	}
	b := &s.bounds
	switch {
	case locked:
		defer unlock()
		b.busySince = time.Time{}
	case b.busySince.IsZero():
		b.busySince = time.Now()
		return 0, true
	case time.Since(b.busySince) < maxBusy:
		return 0, true
	}
	s.dropAssemblies()
	s.dropPlains()
	if items == nil {
		if items, err = inventory(s.dir); err != nil {
			return 0, false
		}
	}
	oldestFirst(items)
	freed = evictor{s.dir, s.hasOpen}.evict(items, need)
	if freed > 0 {
		b.evictions.Add(1)
		s.counts.evicted.Add(freed)
	}
	return freed, false
}

// makeRoom evicts for a disk that is full, whatever the limits are, and says whether
// it is worth trying again. since is what evictions gave when the write began.
func (s *Store) makeRoom(since int64) bool {
	b := &s.bounds
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.evictions.Load() != since {
		return true // another download has made room
	}
	freed, busy := s.makeRoomIn(nil, maxStep)
	return freed > 0 || busy
}

// maxMakeRoom is how often something is evicted for one write.
const maxMakeRoom = 3

// withRoom does a write, and where the disk is full once more with what is used
// longest ago evicted.
func (s *Store) withRoom(write func() error) error {
	for tries := 0; ; tries++ {
		since := s.bounds.evictions.Load()
		err := write()
		if err == nil || !isFull(err) || tries == maxMakeRoom || !s.makeRoom(since) {
			return err
		}
	}
}

// hasOpen says whether an item is open in this process.
func (s *Store) hasOpen(it item) bool {
	if it.part != noLayer {
		return it.part == layerPlain && s.hasPlain(it.layer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.contents {
		if k.digest == it.digest {
			return true
		}
	}
	return false
}

// tellUnkept writes into the log that blobs are not kept, once in a while.
func (s *Store) tellUnkept(d v1.Hash, cause error) {
	s.mu.Lock()
	now := s.opts.Now()
	told := !s.toldUnkept.IsZero() && now.Sub(s.toldUnkept) < tellEvery
	if !told {
		s.toldUnkept = now
	}
	s.mu.Unlock()
	if !told {
		s.opts.Logger.Warn("what is read is not kept in the cache", "digest", d.String(), "error", fmt.Sprint(cause))
	}
}
