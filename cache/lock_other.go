//go:build !linux

package cache

import (
	"os"
	"sync"
)

// Elsewhere than on Linux there are no locks of open file descriptions. One
// process may use a directory at a time; within it, one mutex guards the state
// of all blobs.
var stateMutex sync.Mutex

func lockShared(*os.File) error                             { return nil }
func tryLock(*os.File, int64, int64) (bool, error)          { return true, nil }
func lockedBy(*os.File, int64, int64) (int64, int64, error) { return 0, 0, nil }
func unlockRange(*os.File, int64, int64) error              { return nil }
func lockExclusive(string, int64) (func(), error) {
	stateMutex.Lock()
	return stateMutex.Unlock, nil
}

func changeTime(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}
