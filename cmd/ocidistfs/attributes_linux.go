package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// setAttribute gives a file an extended attribute. The error is errors.ErrUnsupported
// where the file system has none, or no room for it beside the others: ext4 has some
// 4 KiB for all of a file's.
func setAttribute(f *os.File, name, value string) error {
	err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ERANGE) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}
