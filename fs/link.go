package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// link is a symbolic link.
type link struct {
	node
	link tree.Link
}

var _ fusefs.NodeReadlinker = (*link)(nil)

func (l *link) Readlink(ctx context.Context) (target []byte, errno syscall.Errno) {
	errno = l.doAtOnce(ctx, "", func(ctx context.Context) error {
		s, err := l.link.Target(ctx)
		target = []byte(s)
		return err
	})
	return target, errno
}
