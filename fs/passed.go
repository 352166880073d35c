package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// A passedHandle is an open file that the kernel reads by itself, out of another
// file with the same bytes. Where that cannot be, its reads come here, as those
// of others do.
type passedHandle struct {
	*handle
	backed  tree.Backed
	backing tree.BackingFile // set by PassthroughFd, which is called once and before Release
}

var (
	_ fusefs.FileReader          = (*passedHandle)(nil)
	_ fusefs.FileReleaser        = (*passedHandle)(nil)
	_ fusefs.FilePassthroughFder = (*passedHandle)(nil)
)

// PassthroughFd makes the file. It is called where no other open file of the
// inode is passed; else that one's is used.
func (h *passedHandle) PassthroughFd() (int, bool) {
	opens := h.file.mount.opens
	if !opens.mayPass(h.ino) {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.file.mount.opts.OpTimeout)
	defer cancel()
	var err error
	if h.backing, err = h.backed.Backing(ctx); err != nil {
		h.file.mount.opts.Logger.Debug("not passed through", "path", h.file.Path(nil), "error", err)
		opens.unpassed(h.ino)
		return 0, false
	}
	return int(h.backing.Fd()), true
}

func (h *passedHandle) Release(ctx context.Context) syscall.Errno {
	if h.backing != nil {
		_ = h.backing.Close() // it has no name, and the kernel its own reference
	}
	return h.handle.Release(ctx)
}
