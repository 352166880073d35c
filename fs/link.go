package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// link is a symbolic link.
type link struct {
	node // of a tree.Link
}

// shown is the tree's link.
func (l *link) shown() tree.Link {
	shown, _ := l.tree.(tree.Link) // see wrap
	return shown
}

var _ fusefs.NodeReadlinker = (*link)(nil)

func (l *link) Readlink(ctx context.Context) (target []byte, errno syscall.Errno) {
	errno = l.doAtOnce(ctx, "", func(ctx context.Context) error {
		s, err := l.shown().Target(ctx)
		target = []byte(s)
		return err
	})
	return target, errno
}
