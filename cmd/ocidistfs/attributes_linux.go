package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// setAttribute gives a file an extended attribute. The error is errors.ErrUnsupported
// where the file system has none.
func setAttribute(f *os.File, name, value string) error {
	return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
}
