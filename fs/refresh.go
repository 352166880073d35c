package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// refreshCommand is the ioctl on an open directory that refreshes it: without an
// argument and without an answer, so that the kernel hands it on as it is
// (_IO(0xCF, 1), whose type no driver in ioctl-number.rst has). Nothing else could
// ask it: the kernel itself refuses to set an attribute of a read-only mount.
const refreshCommand = 0xCF01

// refreshLimit is how long a refresh may take. The mount itself gives up after its
// OpTimeout, and has refreshed by then what it could: it is to say so.
const refreshLimit = opTimeout + statLimit

// errKernelWaits is a refresh of which the kernel was told in part.
var errKernelWaits = errors.New("the mount asks again from now on; but where a request is under way the kernel may show for a while what it knew")

// ErrNothingToRefresh is a directory in which nothing is good for a while only:
// what is known by digest never changes.
var ErrNothingToRefresh = errors.New("nothing here ever changes: it is known by digest")

// Refresh makes a mount of ours forget what it knows of tags in and below a path,
// so that the next look asks the registry. A file stands for its directory, and
// what does not exist for the directory that it would be in. Only the mounter
// and root may. It returns early when ctx ends.
func Refresh(ctx context.Context, path string) error {
	dir, err := existing(path)
	if err != nil {
		return fmt.Errorf("refresh %s: %w", path, unwrapPath(err))
	}
	var f *os.File
	err = within(func() (err error) {
		f, err = os.Open(dir)
		return err
	})
	if err == nil {
		err = await(ctx, refreshLimit, func() error {
			defer func() { _ = f.Close() }()
			return unix.IoctlSetInt(int(f.Fd()), refreshCommand, 0)
		})
	}
	switch {
	case errors.Is(err, syscall.ENOTTY):
		err = ErrNothingToRefresh
	case errors.Is(err, syscall.ETIMEDOUT):
		err = errKernelWaits
	}
	if err != nil {
		return fmt.Errorf("refresh %s: %w", dir, unwrapPath(err))
	}
	return nil
}

// existing returns the directory in one of our mounts that a path is about.
func existing(path string) (string, error) {
	dir, err := absolute(path)
	if err != nil {
		return "", err
	}
	mountpoint, err := mountOf(dir)
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		var info os.FileInfo
		err := within(func() (err error) {
			info, err = os.Stat(dir)
			return err
		})
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err != nil && !errors.Is(err, iofs.ErrNotExist), dir == mountpoint:
			return "", err
		}
	}
}

// Ioctl answers refreshCommand. No program that asks about terminals or files is
// told that anything is not implemented, which it might say to its user.
func (d *dir) Ioctl(ctx context.Context, _ fusefs.FileHandle, command uint32, _ uint64, _, _ []byte) (int32, syscall.Errno) {
	refresher, ok := d.tree.(tree.Refresher)
	if command != refreshCommand || !ok {
		return 0, syscall.ENOTTY
	}
	mounter := d.mount.whoIs(ctx).mounter
	return 0, d.do(ctx, "", func(ctx context.Context) error {
		if !mounter {
			return errDenied
		}
		if err := refresher.Refresh(ctx); err != nil {
			return err
		}
		return d.expire(ctx)
	})
}

// expire makes the kernel forget the names in and below the directory that are
// good for a while only. It returns when that is so.
//
// The kernel takes the lock of each directory, and waits for lookups under way in
// it, which others of our goroutines answer. An ioctl holds no such lock, so that
// waiting here is no deadlock.
func (d *dir) expire(ctx context.Context) error {
	expired := make(chan struct{})
	go func() { defer close(expired); d.notify() }()
	select {
	case <-expired:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The names that do not exist are not known here. They end by themselves.
	select {
	case <-time.After(d.mount.absentFor()):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxNotified bounds the directories that the kernel is told of at once. It waits
// in those where a registry is silent, which must not keep it from the others.
const maxNotified = 16

// notify tells the kernel of the names.
func (d *dir) notify() {
	_ = d.NotifyContent(-1, 0) // of the directory itself, which keeps its name, what stat shows
	var all sync.WaitGroup
	slots := make(chan struct{}, maxNotified)
	for parent, names := range d.fleeting() {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			for _, name := range names {
				_ = parent.NotifyEntry(name) // ENOENT: it is forgotten already
			}
		})
	}
	all.Wait()
}

// fleeting yields the directories from this one down in which the kernel may know
// names that are good for a while only, and these. Names that have no end are left
// alone: a shell may be in a directory, and would lose its path.
func (d *dir) fleeting() iter.Seq2[*dir, []string] {
	return func(yield func(*dir, []string) bool) { d.yieldFleeting(yield) }
}

func (d *dir) yieldFleeting(yield func(*dir, []string) bool) (more bool) {
	var names []string
	for name, child := range d.Children() {
		below, isDir := child.Operations().(*dir)
		if isDir {
			if _, ok := below.tree.(tree.Refresher); !ok {
				continue
			}
			if !below.yieldFleeting(yield) {
				return false
			}
		}
		if !isDir || below.brief {
			names = append(names, name)
		}
	}
	return len(names) == 0 || yield(d, names)
}

// absentFor is for how long the kernel may still take a name for absent that it
// was told does not exist.
func (m *mount) absentFor() time.Duration {
	const slack = 100 * time.Millisecond // it begins to count when the answer arrives
	return negativeLifetime + slack - time.Since(time.Unix(0, m.absent.Load()))
}

// sawAbsent takes note that the kernel is about to be told so.
func (m *mount) sawAbsent() { m.absent.Store(time.Now().UnixNano()) }
