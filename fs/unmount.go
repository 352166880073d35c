package fs

import (
	"fmt"
	"time"
)

const (
	// letGoLimit is how long [Unmount] waits for those who use the mount: a program
	// that is about to end needs no mention.
	letGoLimit = 2 * time.Second
	// letGoPause is between two looks at who they are.
	letGoPause = 50 * time.Millisecond
)

// Unmount ends a mount of ours, from another process. One that is in use
// disappears at once, and ends when its last file is closed: Unmount then waits
// for a while, and returns those who are not done with it, as far as this user may
// know of them. It asks the mount nothing, so that one that does not answer ends too.
func Unmount(mountpoint string) (Holders, error) {
	path, err := realPath(mountpoint)
	if err != nil {
		return nil, fmt.Errorf("unmount %s: %w", mountpoint, err)
	}
	entry, mounted, err := mountAt(path)
	switch {
	case err != nil:
		return nil, err
	case !mounted:
		return nil, fmt.Errorf("unmount %s: nothing is mounted there", mountpoint)
	case entry.fsType != fsType:
		return nil, fmt.Errorf("unmount %s: it is a %s file system, not one of ocidistfs", mountpoint, entry.fsType)
	}
	if unmountNow(path) == nil {
		return nil, nil
	}
	if err := detach(path); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(letGoLimit); ; time.Sleep(letGoPause) {
		held := holders(entry.device)
		if len(held) == 0 || time.Now().After(deadline) {
			return held, nil
		}
	}
}
