package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holders are the processes that keep the file system with a device number
// ("0:45", as in mountinfo) in use, in order, as far as this user may look into
// them. It asks no file system anything: what serves it may be this process, or
// dead.
func holders(device string) Holders {
	var found Holders
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		by := heldBy(dir, device)
		if by == "" {
			continue
		}
		name, _ := os.ReadFile(dir + "/comm") // it may have ended
		found = append(found, Holder{PID: pid, Name: strings.TrimSpace(string(name)), By: by})
	}
	slices.SortFunc(found, func(a, b Holder) int { return a.PID - b.PID })
	return found
}

// heldBy says what a process holds of the device; "" is nothing.
func heldBy(dir, device string) string {
	files, _ := filepath.Glob(dir + "/fd/*") // none where it may not be looked at
	for _, file := range files {
		if deviceOf(file) == device {
			return "an open file"
		}
	}
	switch device {
	case deviceOf(dir + "/cwd"):
		return "its working directory"
	case deviceOf(dir + "/root"):
		return "its root directory"
	}
	if maps, err := os.ReadFile(dir + "/maps"); err == nil && mapsDevice(string(maps), device) {
		return "a mapped file"
	}
	if namespace(dir) != namespace("/proc/self") && mountsDevice(dir, device) {
		return "a mount namespace of its own"
	}
	return ""
}

// namespace names the mount namespace of a process; "" where it may not be looked at.
func namespace(dir string) string {
	name, err := os.Readlink(dir + "/ns/mnt")
	if err != nil {
		return ""
	}
	return name
}

// mountsDevice says whether a process sees a mount of the device: a container that was started
// while it was mounted has a copy of it.
func mountsDevice(dir, device string) bool {
	mounts, err := os.ReadFile(dir + "/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == device {
			return true
		}
	}
	return false
}

// deviceOf is the device of the file that a link of /proc stands for; "" where it
// cannot be said. AT_STATX_DONT_SYNC and an empty mask keep FUSE from asking who
// serves the file, and from refusing those who may not look (fuse_getattr).
func deviceOf(link string) string {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)
}

// mapsDevice says whether a process maps a file of a device: proc_pid_maps(5) has
// the number, in hexadecimal, fourth in a line.
func mapsDevice(maps, device string) bool {
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(fields[3], "%x:%x", &major, &minor); err == nil && fmt.Sprintf("%d:%d", major, minor) == device {
			return true
		}
	}
	return false
}
