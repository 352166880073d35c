package fs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many links the kernel follows.
const maxLinks = 40

// absolute makes a path absolute by getcwd(2), which asks no file system anything:
// os.Getwd looks at the working directory, and that may be in a mount that is dead.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	dir, err := syscall.Getwd()
	if err != nil {
		return filepath.Abs(path)
	}
	return filepath.Join(dir, path), nil
}

// realPath returns where the links in a path lead, as [resolveLinks] does for all
// our mounts.
func realPath(path string) (string, error) {
	whole, err := absolute(path)
	if err != nil {
		return "", err
	}
	mounts, err := Mounts()
	if err != nil {
		return "", err
	}
	return resolveLinks(whole, mounts)
}

// resolveLinks returns where the links in an absolute path lead. Nothing in one of
// the mounts is looked at, not even its root, since nobody may answer there: what
// follows a mountpoint is left as it is. What is at the end need not exist.
func resolveLinks(path string, mounts []string) (string, error) {
	resolved, rest := "/", path
	for links := 0; ; {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		switch name {
		case "", ".":
			if rest == "" {
				return resolved, nil
			}
			continue
		case "..":
			resolved = filepath.Dir(resolved)
			continue
		}
		next := filepath.Join(resolved, name)
		if slices.Contains(mounts, next) {
			return filepath.Join(next, rest), nil
		}
		target, err := os.Readlink(next)
		switch {
		case err == nil:
			if links++; links > maxLinks {
				return "", syscall.ELOOP
			}
			if filepath.IsAbs(target) {
				resolved = "/"
			}
			rest = target + "/" + rest
		case strings.Trim(rest, "/") == "": // whatever it is, or nothing
			return next, nil
		case errors.Is(err, syscall.EINVAL): // no link
			resolved = next
		default:
			return "", err
		}
	}
}
