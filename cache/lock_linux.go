package cache

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The locks are of open file descriptions (OFD): they hold between two opens in
// one process as between processes, and end with the description.

// readersByte is the byte that is locked, shared, in a blob's file while it is
// open. It lies behind all data.
const readersByte = 1<<62 + 1

func ofd(f *os.File, command int, kind int16, at, n int64) error {
	return ofdLock(f, command, &unix.Flock_t{Type: kind, Whence: 0, Start: at, Len: n})
}

func ofdLock(f *os.File, command int, lock *unix.Flock_t) error {
	conn, err := f.SyscallConn() // unlike f.Fd, it keeps the file from being closed meanwhile
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = unix.FcntlFlock(fd, command, lock); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("fcntl", failed)
	}
	return err
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

// lockedBy returns what another has locked of a range first; n is 0 where nobody
// has any of it.
func lockedBy(f *os.File, at, n int64) (start, length int64, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: at, Len: n}
	if err := ofdLock(f, unix.F_OFD_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0, 0, err
	}
	return lock.Start, lock.Len, nil
}

func unlockRange(f *os.File, at, n int64) error {
	return ofd(f, unix.F_OFD_SETLK, unix.F_UNLCK, at, n)
}

// tryLockExclusive locks one byte of the file at path, or says that another has it.
// Within a process one description would lock it twice, so each holder has its own.
func tryLockExclusive(path string, at int64) (unlock func(), locked bool, err error) {
	own, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	if locked, err = tryLock(own, at, 1); !locked {
		return nil, false, errors.Join(err, own.Close())
	}
	return func() { _ = own.Close() }, true, nil // the lock goes with it
}

// accessTime is the time of the last access to a file.
func accessTime(info os.FileInfo) time.Time {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime()
	}
	return time.Unix(st.Atim.Unix())
}

// changeTime is when the file or what is known of it changed last, 0 where that
// cannot be said.
func changeTime(f *os.File) int64 {
	info, err := f.Stat() // not by f.Fd, which another may close meanwhile
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ctim.Nano()
}
