package cache

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cloneRange makes n bytes of dst at dstOff share the blocks of those of src at
// srcOff (FICLONERANGE): n bytes or, where they end src, to the end of its last
// block. Both offsets are multiples of the file system's block size.
func cloneRange(dst *os.File, dstOff int64, src *os.File, srcOff, n int64) error {
	conn, err := src.SyscallConn() // unlike src.Fd, it keeps the file from being closed meanwhile
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = unix.IoctlFileCloneRange(int(dst.Fd()), &unix.FileCloneRange{
			Src_fd: int64(fd), Src_offset: uint64(srcOff), Src_length: uint64(n), Dest_offset: uint64(dstOff),
		})
	})
	if err == nil {
		err = os.NewSyscallError("ficlonerange", failed)
	}
	return err
}

// nameless makes a file in dir that has no name, and is gone when it is closed.
func nameless(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
}

// reopen opens an open file again, to be read, whether it has a name or not.
func reopen(f *os.File) (again *os.File, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	if failed := conn.Control(func(fd uintptr) { again, err = os.Open("/proc/self/fd/" + strconv.Itoa(int(fd))) }); failed != nil {
		return nil, failed
	}
	return again, err
}
