package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A File is what lstat(2), readlink(2), listxattr(2) and read(2) say of one. Names
// are bytes.
type File struct {
	Name         []byte // from the root, without a slash before it
	Mode         uint32 // with the type, as in st_mode
	UID, GID     uint32
	Links        uint64
	Ino          uint64
	Size         int64
	Seconds      int64 // of the modification time
	Nanos        int64
	Major, Minor uint32
	Target       []byte
	Xattrs       map[string][]byte // but for trusted ones
	SHA256       string            // of a regular file
}

// list lists what is in a directory, and the directory itself as "".
func list(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(path string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := look(path)
		if errors.Is(err, iofs.ErrNotExist) {
			// Overlayfs lists the whiteouts in a directory that only one layer has, but
			// nobody finds what they stand for.
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f.Name = []byte(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
		files = append(files, f)
		return nil
	})
	return files, err
}

func look(path string) (File, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return File{}, err
	}
	f := File{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Links: uint64(st.Nlink), //nolint:unconvert // of 32 bits on arm64
		Ino:   st.Ino, Size: st.Size,
		Seconds: st.Mtim.Sec, Nanos: st.Mtim.Nsec, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return File{}, err
		}
		f.Target = []byte(target)
	case unix.S_IFREG:
		if f.SHA256, err = sum(path); err != nil {
			return File{}, err
		}
	}
	f.Xattrs, err = xattrs(path)
	return f, err
}

func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func xattrs(path string) (map[string][]byte, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, name := range strings.Split(string(buf[:n]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found[name] = bytes.Clone(value[:n])
	}
	return found, nil
}
