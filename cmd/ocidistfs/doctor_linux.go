package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// machine looks at what a mount needs of the system.
func (d *doctor) machine() {
	d.add(fuseDevice())
	root := os.Geteuid() == 0
	d.add(mountHelper(root))
	d.add(allowOther(root))
	d.add(kernel(root))
}

func fuseDevice() finding {
	const about = "/dev/fuse"
	f, err := os.OpenFile(about, os.O_RDWR, 0)
	switch {
	case err == nil:
		_ = f.Close() // nothing was mounted by it
		return sound(about, "it can be opened")
	case errors.Is(err, os.ErrNotExist):
		return broken(about, "it is missing", "load the kernel's module (modprobe fuse), or give it to the container (--device /dev/fuse)")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return broken(about, err.Error(), "a container has to be given the device (--device /dev/fuse), or the kernel its module (modprobe fuse)")
	case errors.Is(err, os.ErrPermission):
		return broken(about, "it is closed to this user", "have root open it (chmod 666 /dev/fuse, or the group that owns it), or run as root")
	}
	return broken(about, err.Error(), "")
}

// mountHelper looks for the program by which others than root mount.
func mountHelper(root bool) finding {
	const about = "fusermount3"
	if root {
		return sound(about, "root needs none")
	}
	path, err := exec.LookPath(about)
	if err != nil {
		return broken(about, "it is missing, which lets others than root mount", "install the package fuse3, or run as root")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return broken(about, err.Error(), "")
	case info.Mode()&os.ModeSetuid == 0:
		return note(about, path+" is not set-user-ID root, without which it can mount only where it has other rights to",
			"chmod u+s "+path+", by root; the file system must not be mounted nosuid")
	}
	return sound(about, "%s", path)
}

// allowOther looks whether --allow-other may be used.
func allowOther(root bool) finding {
	const about, path = "--allow-other", "/etc/fuse.conf"
	if root {
		return sound(about, "root may use it")
	}
	if b, err := os.ReadFile(path); err == nil {
		isIt := func(line string) bool { return strings.TrimSpace(line) == "user_allow_other" }
		if slices.ContainsFunc(strings.Split(string(b), "\n"), isIt) {
			return sound(about, "%s allows it", path)
		}
	}
	return note(about, "others than root may not use it", "where it is needed, root adds the line user_allow_other to "+path)
}

// passthroughSince is the first kernel that reads files of FUSE by itself where it
// is told to: 6.9.
var passthroughSince = [2]int{6, 9}

// kernel looks at its version. What it was built with cannot be seen before
// something is mounted.
func kernel(root bool) finding {
	const about = "kernel"
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return note(about, err.Error(), "")
	}
	release := unix.ByteSliceToString(name.Release[:])
	var version [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &version[0], &version[1]); err != nil {
		return note(about, "of an unknown version: "+release, "")
	}
	switch {
	case slices.Compare(version[:], passthroughSince[:]) < 0:
		return note(about, release+": too old to read images by itself", "from 6.9 on it does for root, where the cache is on XFS or btrfs; all else works")
	case !root:
		return sound(about, "%s (for root it reads images by itself)", release)
	}
	return sound(about, "%s: it can read images by itself", release)
}

const (
	// scarce is little room for images, in bytes.
	scarce = 2 << 30
	// none is no room.
	none = 16 << 20
)

// diskFindings looks at the file system of the cache, in a directory for tests.
func diskFindings(about, dir string) []finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []finding{broken(about, err.Error(), otherCache)}
	}
	var found []finding
	free := int64(st.Bavail) * st.Bsize
	const room = "make room; the cache leaves some of a disk free (--cache-min-free), and what has no room is fetched each time"
	switch text := fmt.Sprintf("%s are free", size(free)); {
	case free < none:
		found = append(found, broken(about, text, room))
	case free < scarce:
		found = append(found, note(about, text, room))
	default:
		found = append(found, sound(about, "%s", text))
	}
	kind := fileSystems[st.Type]
	if kind == "" {
		kind = fmt.Sprintf("of type %#x", st.Type)
	}
	switch err := tryClone(dir); {
	case err == nil:
		found = append(found, sound(about, "its file system (%s) shares blocks between files: images that are whole are not copied", kind))
	case elsewhere[st.Type]:
		found = append(found, note(about, fmt.Sprintf("its file system (%s) is that of another machine", kind), "a local directory is faster, and its locks are certain"))
	default:
		found = append(found, sound(about, "its file system (%s) does not share blocks between files, as XFS and btrfs do: images are copied", kind))
	}
	return found
}

// tryClone says whether two files of a directory can share blocks.
func tryClone(dir string) error {
	from, err := os.Create(filepath.Join(dir, "from"))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it goes with its directory
	if _, err := from.Write(make([]byte, 4096)); err != nil {
		return err
	}
	to, err := os.Create(filepath.Join(dir, "to"))
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlFileClone(int(to.Fd()), int(from.Fd())), to.Close())
}

// fileSystems are the names of those that caches are on, by their magic number
// (statfs(2)).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "XFS", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.F2FS_SUPER_MAGIC: "f2fs", zfsMagic: "ZFS", bcachefsMagic: "bcachefs",
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS", unix.FUSE_SUPER_MAGIC: "FUSE",
	unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "Ceph",
}

// Those that the kernel's headers do not have.
const (
	zfsMagic      = 0x2fc12fc1
	bcachefsMagic = 0xca451a4e
)

// elsewhere are those of them that other machines serve.
var elsewhere = map[int64]bool{
	unix.NFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.V9FS_MAGIC: true, unix.CEPH_SUPER_MAGIC: true,
}
