package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

var (
	// ErrNotMounted is a path that is not (in) a mount of ours.
	ErrNotMounted = errors.New("no mount of ocidistfs is there")
	// ErrStale is a mount whose process is gone.
	ErrStale = errors.New("stale: the process that served it is gone")
	// ErrSilent is a mount that does not answer in time.
	ErrSilent = errors.New("it does not answer")
)

// Mounts returns where our file systems are mounted, all users', each once and in
// order. It touches none of them.
func Mounts() ([]string, error) {
	entries, err := mountTable()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if e.fsType == fsType {
			paths = append(paths, e.path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// mountAt returns the topmost mount at a path, which is absolute and without
// links. It touches no file system but /proc.
func mountAt(path string) (entry mountEntry, ok bool, err error) {
	entries, err := mountTable()
	for _, e := range entries {
		if e.path == path {
			entry, ok = e, true // the last one is on top
		}
	}
	return entry, ok, err
}

// mountOf returns the part of an absolute path that is a mountpoint of ours, or a
// link to one. It looks at nothing in a mount of ours, which may be dead.
func mountOf(path string) (string, error) {
	mounts, err := Mounts()
	if err != nil {
		return "", err
	}
	resolved, seen := "/", "/"
	for {
		if slices.Contains(mounts, resolved) {
			return seen, nil
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(path, seen), "/")
		if rest == "" {
			return "", ErrNotMounted
		}
		name, _, _ := strings.Cut(rest, "/")
		seen, resolved = filepath.Join(seen, name), filepath.Join(resolved, name)
		if slices.Contains(mounts, resolved) {
			return seen, nil
		}
		if resolved, err = resolveLinks(resolved, mounts); err != nil {
			return "", err
		}
	}
}

// ReadStatus returns the status.json of the mount at a mountpoint, and where that
// is without links. It waits for a mount no longer than a few seconds. Its errors
// are [ErrNotMounted], [ErrStale], [ErrSilent] and io/fs.ErrPermission, for who is
// not the mounter, among others; path is "" where there is no mount.
func ReadStatus(mountpoint string) (path string, status []byte, err error) {
	path, err = ourMountAt(mountpoint)
	if err != nil {
		return "", nil, err
	}
	read := make(chan []byte, 1)
	err = within(func() error {
		b, err := os.ReadFile(filepath.Join(path, statusName, statusFileName))
		read <- b
		return err
	})
	switch {
	case err == nil:
		return path, <-read, nil
	case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
		return path, nil, ErrStale
	case errors.Is(err, ErrSilent):
		return path, nil, err
	default:
		return path, nil, unwrapPath(err)
	}
}

// ourMountAt returns where the links in a mountpoint of ours lead.
func ourMountAt(mountpoint string) (string, error) {
	var resolved string
	err := within(func() (err error) { // a file system above may be dead too
		resolved, err = realPath(mountpoint)
		return err
	})
	if err != nil {
		return "", unwrapPath(err)
	}
	mounts, err := Mounts()
	switch {
	case err != nil:
		return "", err
	case !slices.Contains(mounts, resolved):
		return "", ErrNotMounted
	}
	return resolved, nil
}

// unwrapPath is an error without the path, which its reader was told already.
func unwrapPath(err error) error {
	var path *iofs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// parseMounts reads a mountinfo (proc_pid_mountinfo(5)). What it does not
// understand it leaves out.
func parseMounts(mountinfo string) []mountEntry {
	var entries []mountEntry
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if found && len(fields) >= 5 && len(rest) >= 1 {
			entries = append(entries, mountEntry{path: unescape(fields[4]), device: fields[2], fsType: rest[0]})
		}
	}
	return entries
}

// A mountEntry is a line of it.
type mountEntry struct{ path, device, fsType string }

// unescape undoes the octal escapes that mountinfo has for blanks.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
