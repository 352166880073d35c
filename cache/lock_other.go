//go:build !linux

package cache

import (
	"os"
	"sync"
	"time"
)

// Elsewhere than on Linux there are no locks of open file descriptions. One
// process may use a directory at a time; within it, one mutex guards the state
// of all blobs.
var stateMutex, evictorMutex sync.Mutex

// readersByte is locked nowhere.
const readersByte = 0

func lockShared(*os.File) error                             { return nil }
func tryLock(*os.File, int64, int64) (bool, error)          { return true, nil }
func lockedBy(*os.File, int64, int64) (int64, int64, error) { return 0, 0, nil }
func unlockRange(*os.File, int64, int64) error              { return nil }

func tryLockExclusive(_ string, at int64) (unlock func(), locked bool, err error) {
	m := &stateMutex
	if at == evictorByte {
		m = &evictorMutex
	}
	return m.Unlock, m.TryLock(), nil
}

// accessTime is when the file was made: the oldest blobs go first.
func accessTime(info os.FileInfo) time.Time { return info.ModTime() }

func changeTime(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}
