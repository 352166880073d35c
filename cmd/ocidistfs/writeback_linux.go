package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack begins to write a range of a file to the disk. It is a hint.
func startWriteBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
