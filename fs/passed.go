package fs

import (
	"context"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// backingLimit is how long an open waits for a file that the kernel could read by
// itself. It is made in milliseconds, unless the disk has not got the blobs yet:
// then this open goes without, and a later one finds it.
const backingLimit = 100 * time.Millisecond

// backing returns a file with the same bytes as open, or nil where there is none
// now.
func (f *file) backing(ctx context.Context, open tree.OpenFile) tree.BackingFile {
	backed, ok := open.(tree.Backed)
	if !ok || !f.mount.passes || !backed.Intact() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, backingLimit)
	defer cancel()
	backing, err := backed.Backing(ctx)
	if err != nil {
		f.mount.opts.Logger.Debug("not passed through", "path", f.path(), "error", err)
		return nil
	}
	return backing
}

// A passedHandle is an open file that the kernel reads by itself, out of another
// file with the same bytes. Where that cannot be, its reads come here, as those
// of others do.
type passedHandle struct {
	*handle
	backing tree.BackingFile // of all that have the inode open
}

var (
	_ fusefs.FileReader          = (*passedHandle)(nil)
	_ fusefs.FileReleaser        = (*passedHandle)(nil)
	_ fusefs.FilePassthroughFder = (*passedHandle)(nil)
)

// PassthroughFd is called with a lock held that every open takes. Where another
// open file of the inode is passed, that one's is used.
func (h *passedHandle) PassthroughFd() (int, bool) { return int(h.backing.Fd()), true }
