package fs

import (
	"fmt"
	"path/filepath"
)

// Unmount ends a mount of ours, from another process. One that is in use
// disappears at once, and ends when its last file is closed.
func Unmount(mountpoint string) error {
	absolute, err := filepath.Abs(mountpoint)
	if err != nil {
		return err
	}
	path, err := resolveLinks(absolute, maxLinks)
	if err != nil {
		return fmt.Errorf("unmount %s: %w", mountpoint, err)
	}
	entry, mounted, err := mountAt(path)
	switch {
	case err != nil:
		return err
	case !mounted:
		return fmt.Errorf("unmount %s: nothing is mounted there", mountpoint)
	case entry.fsType != fsType:
		return fmt.Errorf("unmount %s: it is a %s file system, not one of ocidistfs", mountpoint, entry.fsType)
	}
	if unmountNow(path) == nil {
		return nil
	}
	return detach(path)
}
