package fs

import (
	"context"
	iofs "io/fs"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// A caller is who a call is for, as far as permissions go.
type caller struct {
	mounter  bool // who mounted, or root: may read everything
	uid, gid uint32
}

// whoIs is the caller of a request.
func (m *mount) whoIs(ctx context.Context) caller {
	from, ok := fuse.FromContext(ctx)
	if !ok {
		return caller{mounter: true}
	}
	return caller{from.Uid == 0 || from.Uid == m.uid, from.Uid, from.Gid}
}

// permit checks access by the mode bits (access(2)). What is in an image has an owner and a group
// of its own; the kernel tells of the caller's group alone, and not of others that he is in. Of
// all else nobody but who mounted is owner or in the group.
func (c caller) permit(attr tree.Attr, mask uint32) error {
	if c.mounter {
		return nil
	}
	bits := uint32(attr.Mode.Perm())
	if r := attr.Recorded; r != nil && attr.Mode&iofs.ModeSymlink == 0 {
		switch {
		case r.UID == c.uid:
			bits >>= 6
		case r.GID == c.gid:
			bits >>= 3
		}
	}
	if bits&7&mask != mask&7 {
		return errDenied
	}
	return nil
}
