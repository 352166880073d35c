package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	iofs "io/fs"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxStateWait is how long a blob's state is waited for: what is done meanwhile takes
// milliseconds, unless the process that does it is stopped.
const maxStateWait = 5 * time.Second

// errStateLocked is a blob that another process is about to change, and does not.
var errStateLocked = errors.New("another process holds its lock")

// lockState locks a blob's state on disk, in all processes: it is held while the
// blob is created, completed or dropped, never while bytes are fetched. Where
// the directory was removed it is made again.
func (s *Store) lockState(d v1.Hash) (unlock func(), err error) {
	at, err := stateByte(d)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, lockName)
	unlock, locked, err := tryLockExclusive(path, at)
	if errors.Is(err, iofs.ErrNotExist) {
		if err := prepare(s.dir); err != nil {
			return nil, err
		}
		unlock, locked, err = tryLockExclusive(path, at)
	}
	for waited, pause := time.Duration(0), time.Millisecond; err == nil && !locked; pause = min(2*pause, maxPoll) {
		if waited += pause; waited > maxStateWait {
			return nil, errStateLocked
		}
		time.Sleep(pause)
		unlock, locked, err = tryLockExclusive(path, at)
	}
	return unlock, err
}

// stateByte is the byte of the file lock that is a blob's. Two digests that begin
// alike wait for each other, which harms nobody.
func stateByte(d v1.Hash) (int64, error) {
	b, err := hex.DecodeString(d.Hex[:16])
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b) >> 2), nil
}
