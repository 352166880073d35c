package cache

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// diskOf is what is free on the file system of a directory for who is not root, and
// how large it is, in bytes.
func diskOf(dir string) (free, size int64, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(dir, &st); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := int64(st.Bsize) //nolint:unconvert // of another type elsewhere
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}

// isFull says whether an error is that there is no more room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
