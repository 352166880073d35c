package cache

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
)

// evictorByte is the byte of the file lock that the one process holds which evicts.
// States have those below it.
const evictorByte = 1<<62 + 2

// errInUse is a blob that somebody has open.
var errInUse = errors.New("in use")

// An evictor removes items from a cache directory. What is open anywhere it leaves
// alone: readers would read on, since a file without a name stays until it is closed,
// but its room would not come back, and who opens the blob next would fetch it again.
type evictor struct {
	dir string
	// open says whether the blob is open in this process. Where there are no locks
	// of open files, that is all that is known; nil is nowhere.
	open func(it item) bool
}

// remove removes an item. The error is errInUse where it is open, or somebody is
// about to open, complete or drop it.
func (e evictor) remove(it item) error {
	if e.open != nil && !it.stray && e.open(it) {
		return errInUse
	}
	at, err := stateByte(it.digest)
	if err != nil {
		return err
	}
	unlock, locked, err := tryLockExclusive(filepath.Join(e.dir, lockName), at)
	if err != nil {
		return err
	}
	if !locked {
		return errInUse
	}
	defer unlock()
	if it.part != noLayer && !it.stray {
		return e.removeLayer(it)
	}
	if it.stray {
		switch _, err := os.Lstat(it.data); {
		case err == nil:
			return errInUse // its data came meanwhile
		case !errors.Is(err, iofs.ErrNotExist):
			return err
		}
		if err := removeFiles(it.beside); err != nil || it.part == noLayer {
			return err
		}
		_ = os.Remove(filepath.Dir(it.beside)) // which something else is in, perhaps
		return nil
	}
	switch used, err := isOpen(it.data); {
	case err != nil:
		return err
	case used:
		return errInUse
	}
	if it.partial {
		// The map first: without its data it would speak of whatever comes next.
		return removeFiles(it.beside, it.data)
	}
	return removeFiles(it.data, it.beside)
}

// isOpen says whether anybody holds the lock that readers hold on a blob's file.
// One that is gone nobody needs. Whoever opens a whole blob just now, and has not
// locked it yet, finds that it has lost its name, and looks again.
func isOpen(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	_, n, err := lockedBy(f, readersByte, 1)
	return n > 0, err
}

// oldestFirst sorts items by their last use, strays before all. What kills left goes
// next, and the indexes of layers last: each stands for a hundred times as many bytes,
// which would have to be fetched to make it again.
func oldestFirst(items []item) {
	slices.SortFunc(items, func(a, b item) int {
		if a.stray != b.stray {
			if a.stray {
				return -1
			}
			return 1
		}
		if n := cmp.Compare(a.rank(), b.rank()); n != 0 {
			return n
		}
		return a.used.Compare(b.used)
	})
}

func (it item) rank() int {
	switch it.part {
	case layerFile:
		return 0
	case layerIndex:
		return 2
	default:
		return 1
	}
}

// evict removes items in their order until need bytes are freed, and returns how
// many were.
func (e evictor) evict(items []item, need int64) (freed int64) {
	for _, it := range items {
		if freed >= need {
			break
		}
		if e.remove(it) == nil {
			freed += it.bytes
		}
	}
	return freed
}
