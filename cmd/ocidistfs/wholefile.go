package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
)

// writeWhole writes a file that appears when it is whole: under another name in
// the same directory, synced, then renamed. What was there before stays until
// then, and what write left is removed when it fails. Where path is a link, the
// file that it leads to is replaced; a device or a pipe is written to.
func writeWhole(path string, write func(*os.File) error) (err error) {
	before, err := os.Stat(path)
	exists := err == nil
	if exists {
		if !before.Mode().IsRegular() {
			return writeTo(path, write)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	// Not os.CreateTemp: its files are the user's alone, whatever the umask says.
	name := filepath.Join(filepath.Dir(path), ".ocidistfs-"+rand.Text()+".tmp")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	var opened *iofs.PathError
	switch {
	case errors.As(err, &opened): // with a name that only we know
		return fmt.Errorf("write %s: %w", path, opened.Err)
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	err = write(f)
	if err == nil && exists {
		err = f.Chmod(before.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(name, path)
}

// writeTo writes to what cannot be replaced, and is not meant to be.
func writeTo(path string, write func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// writtenBack is a file whose bytes are on their way to the disk soon after they
// were written: the sync at the end has little left to wait for.
type writtenBack struct {
	*os.File
	at, started int64 // bytes written, and of those the ones on their way
}

// writeBackStep is how much is started at once.
const writeBackStep = 16 << 20

func (f *writtenBack) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if f.at += int64(n); f.at-f.started >= writeBackStep {
		startWriteBack(f.File, f.started, f.at-f.started)
		f.started = f.at
	}
	return n, err
}
