package cache

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// The locks are of open file descriptions (OFD): they hold between two opens in
// one process as between processes, and end with the description.

// readersByte is the byte that is locked, shared, in a blob's file while it is
// open. It lies behind all data.
const readersByte = 1<<62 + 1

func ofd(f *os.File, command int, kind int16, at, n int64) error {
	lock := unix.Flock_t{Type: kind, Whence: 0, Start: at, Len: n}
	for {
		err := unix.FcntlFlock(f.Fd(), command, &lock)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func lockShared(f *os.File) error {
	return ofd(f, unix.F_OFD_SETLKW, unix.F_RDLCK, readersByte, 1)
}

// tryLock locks a range, or says that another has some of it.
func tryLock(f *os.File, at, n int64) (bool, error) {
	err := ofd(f, unix.F_OFD_SETLK, unix.F_WRLCK, at, n)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlockRange(f *os.File, at, n int64) error {
	return ofd(f, unix.F_OFD_SETLK, unix.F_UNLCK, at, n)
}

// lockExclusive waits for one byte. Within a process the same description would
// lock it twice, so each holder has its own.
func lockExclusive(f *os.File, at int64) (unlock func(), err error) {
	own, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := ofd(own, unix.F_OFD_SETLKW, unix.F_WRLCK, at, 1); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return func() { _ = own.Close() }, nil // the lock goes with it
}

// changeTime is when the file or what is known of it changed last.
func changeTime(f *os.File) int64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return st.Ctim.Nano()
}
