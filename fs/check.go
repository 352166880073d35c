package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fsType is the type of our mounts.
const fsType = "fuse." + typeName

// statLimit is how long a mountpoint may take to answer: one below a dead
// network file system never does.
const statLimit = 5 * time.Second

// Check says in words why a mount at the mountpoint would fail or do harm: it is
// no empty directory, something is mounted there, the machine lacks what it
// needs, or one of the directories outside, which the serving process uses,
// lies below it, or it in the cache's ("" is none). A stale mount of ours, whose
// process is gone, is cleared.
func Check(mountpoint string, allowOther bool, cacheDir string, outside ...string) error {
	if err := checkSystem(allowOther); err != nil {
		return err
	}
	path, err := realPath(mountpoint)
	if err != nil {
		return fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	switch entry, mounted, err := mountAt(path); {
	case err != nil:
		return err
	case mounted && entry.fsType == fsType:
		if !isStale(path) {
			return fmt.Errorf("mountpoint %s: ocidistfs is mounted there already; end it with: ocidistfs unmount %s", mountpoint, mountpoint)
		}
		if err := detach(path); err != nil {
			return fmt.Errorf("mountpoint %s: clear a mount that was left behind: %w", mountpoint, err)
		}
	case mounted:
		return fmt.Errorf("mountpoint %s: a %s file system is mounted there already", mountpoint, entry.fsType)
	}
	if err := within(func() error { return emptyDir(path) }); err != nil {
		return fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	if err := mayMountAt(path); err != nil {
		return fmt.Errorf("mountpoint %s: %w", mountpoint, err)
	}
	if cacheDir != "" {
		outside = append(outside, cacheDir)
		cached, err := realPath(cacheDir)
		switch {
		case err != nil: // it is not there yet, and nothing in it
		case isIn(path, cached) && path != cached:
			return fmt.Errorf("mountpoint %s: it lies in the cache directory %s, which whoever uses that would walk into; mount elsewhere, or name another --cache-dir", mountpoint, cacheDir)
		}
	}
	for _, dir := range outside {
		below, err := isBelow(dir, path)
		if err != nil {
			return err
		}
		if below {
			return fmt.Errorf("%s lies below the mountpoint %s: what serves the mount cannot use a directory in it", dir, mountpoint)
		}
	}
	return nil
}

// isStale says whether the process behind a mount is gone. While it is going, the
// kernel ends what is under way there (ECONNABORTED, or EIO) and then says so
// (ENOTCONN). The file that is looked at is one whose attributes the kernel never
// remembers: those of the root it would go on to tell.
func isStale(path string) bool {
	for patience := 50; ; patience-- {
		err := within(func() error {
			_, err := os.Lstat(filepath.Join(path, statusName, statusFileName))
			return err
		})
		switch {
		case errors.Is(err, syscall.ENOTCONN):
			return true
		case patience == 0 || !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.EIO):
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// within runs a check that may hang on a dead file system, and does not wait
// longer than statLimit for it.
func within(check func() error) error { return await(context.Background(), statLimit, check) }

// await waits for a system call until ctx ends, and no longer than limit. The
// call itself goes on. Not even the end of the process ends it, which waits for it,
// where the process that serves the mount has taken the request: who must not be
// held up has another process call.
func await(ctx context.Context, limit time.Duration, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(limit):
		return ErrSilent
	}
}

func emptyDir(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return errors.New("no such directory; make it first")
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("not a directory")
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	switch _, err := d.Readdirnames(1); {
	case err == nil:
		return errors.New("not empty; what is in it would be hidden")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// isBelow says whether dir is mountpoint or lies below it, links resolved. A dir
// that does not exist yet is judged by the part that does.
func isBelow(dir, mountpoint string) (bool, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	rest := ""
	for {
		resolved, err := filepath.EvalSymlinks(path)
		if err == nil {
			path = filepath.Join(resolved, rest)
			break
		}
		if path == "/" {
			return false, err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
	return isIn(path, mountpoint), nil
}

// isIn says whether a path is dir or lies below it; both are absolute and without
// links.
func isIn(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
