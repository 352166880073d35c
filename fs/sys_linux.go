package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// remoteIO is for a registry that failed.
const remoteIO = syscall.EREMOTEIO

// restrict makes the mount read-only and harmless: what is in images runs only where it is
// to, and never with the rights of another user. Root mounts by the system call, without
// fusermount3, which others need.
func restrict(o *fuse.MountOptions, exec bool) {
	if os.Geteuid() == 0 {
		o.DirectMountStrict = true
		o.DirectMountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
		if !exec {
			o.DirectMountFlags |= unix.MS_NOEXEC
		}
		return
	}
	o.Options = []string{"ro", "nosuid", "nodev"}
	if !exec {
		o.Options = append(o.Options, "noexec")
	}
}

// readAheadKB is how far the kernel reads ahead of a sequential reader. Its
// default of 128 KiB keeps one READ under way at a time.
const readAheadKB = "4096"

// raiseReadAhead sets it for the mount, where that is allowed. The device's
// number is asked of mountinfo, since a stat of the mount would be answered by
// this very process.
func raiseReadAhead(mountpoint string, log *slog.Logger) {
	entry, ok, err := mountAt(mountpoint)
	if err == nil && ok {
		err = os.WriteFile("/sys/class/bdi/"+entry.device+"/read_ahead_kb", []byte(readAheadKB), 0)
	}
	if err != nil {
		log.Debug("the kernel's read-ahead stays as it is", "error", err)
	}
}

// mountTable returns the mounts of this process's name space, those on top later.
func mountTable() ([]mountEntry, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b)), nil
}

// detach takes a mount out of the tree of directories. It ends when the last
// file of it is closed.
func detach(mountpoint string) error {
	if os.Geteuid() == 0 {
		if err := unix.Unmount(mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", mountpoint, err)
		}
		return nil
	}
	return fusermount("-uz", mountpoint)
}

// unmountNow ends a mount that nobody uses; one in use is EBUSY.
func unmountNow(mountpoint string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(mountpoint, unix.UMOUNT_NOFOLLOW)
	}
	return fusermount("-u", mountpoint)
}

// helperLimit is how long fusermount3 may take.
const helperLimit = 30 * time.Second

func fusermount(flag, mountpoint string) error {
	ctx, cancel := context.WithTimeout(context.Background(), helperLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "fusermount3", flag, "--", mountpoint).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3 %s %s: %w: %s", flag, mountpoint, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// mayMountAt says in words why fusermount3 would not let this user mount at an
// existing directory: it says so on a standard error that nobody reads.
func mayMountAt(path string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	if err := unix.Access(path, unix.W_OK); err != nil {
		return errors.New("this user may not write to it, which mounting there needs; use a directory of your own, or run as root")
	}
	return nil
}

// claim has this process alone mount at a directory, of all that ask, and checks
// once more that nobody has since [Check]. A file system without such locks is
// no obstacle.
func claim(mountpoint string) (release func(), err error) {
	dir, err := os.Open(mountpoint)
	if err != nil {
		return nil, err
	}
	release = func() { _ = dir.Close() } // and with it the lock
	for range 50 {                       // a mount takes no second
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if entry, mounted, err := mountAt(mountpoint); err == nil && mounted {
		release()
		return nil, fmt.Errorf("a %s file system was mounted there meanwhile", entry.fsType)
	}
	return release, nil
}

// checkSystem says in words why this machine cannot mount.
func checkSystem(allowOther bool) error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return errors.New("/dev/fuse is missing: load the kernel's module (modprobe fuse), or give it to the container (--device /dev/fuse)")
	}
	if os.Geteuid() == 0 {
		return nil
	}
	// fusermount3 opens it as the user, and says why it cannot where nobody hears it.
	if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
		return errors.New("/dev/fuse is closed to this user: have root open it (chmod 666 /dev/fuse, or the group that owns it), or run as root")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return errors.New("fusermount3 is missing, which lets others than root mount: install the package fuse3, or run as root")
	}
	if !allowOther {
		return nil
	}
	b, err := os.ReadFile("/etc/fuse.conf")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if strings.TrimSpace(line) == "user_allow_other" {
				return nil
			}
		}
	}
	return errors.New("--allow-other is not permitted: it needs the line user_allow_other in /etc/fuse.conf, or root")
}
