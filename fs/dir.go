package fs

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// dir is a directory. It remembers nothing: the tree resolves each name, and
// the kernel remembers for as long as the tree said.
type dir struct {
	node // of a tree.Dir
	// brief says that the name which led here is good for a while only. It always
	// is: a directory's number is its path's.
	brief bool
	// listed is the version of which the kernel may have the listing; of what is in an image
	// there is one.
	listed atomic.Pointer[string]
}

// shown is the tree's directory.
func (d *dir) shown() tree.Dir {
	shown, _ := d.tree.(tree.Dir) // see wrap
	return shown
}

var (
	_ fusefs.NodeLookuper       = (*dir)(nil)
	_ fusefs.NodeOpendirHandler = (*dir)(nil)
	_ fusefs.NodeIoctler        = (*dir)(nil)
	_ fusefs.NodeMkdirer        = (*dir)(nil)
	_ fusefs.NodeCreater        = (*dir)(nil)
	_ fusefs.NodeUnlinker       = (*dir)(nil)
	_ fusefs.NodeRmdirer        = (*dir)(nil)
	_ fusefs.NodeRenamer        = (*dir)(nil)
	_ fusefs.NodeLinker         = (*dir)(nil)
	_ fusefs.NodeSymlinker      = (*dir)(nil)
	_ fusefs.NodeMknoder        = (*dir)(nil)
)

func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	who := d.mount.whoIs(ctx)
	never := false
	var found tree.Node
	brief := false
	var attr tree.Attr
	errno := d.doAtOnce(ctx, name, func(ctx context.Context) error {
		own, err := d.tree.Attr(ctx)
		if err != nil {
			return err
		}
		if err := who.permit(own, executeBit); err != nil {
			return err
		}
		child, err := d.shown().Lookup(ctx, name)
		if err != nil {
			never = errors.Is(err, tree.ErrNever)
			return err
		}
		if attr, err = child.Node.Attr(ctx); err != nil {
			return err
		}
		d.mount.fill(&out.Attr, attr)
		out.SetEntryTimeout(lifetime(child.Lifetime))
		out.SetAttrTimeout(lifetime(attr.Lifetime))
		found, brief = child.Node, child.Lifetime != tree.Forever
		return nil
	})
	if errno != 0 {
		switch {
		case never:
			out.SetEntryTimeout(maxLifetime)
		case errno == syscall.ENOENT:
			d.mount.sawAbsent()
		}
		return nil, errno
	}
	if inner, ok := found.(tree.Inner); ok {
		out.NodeId, out.Generation = d.mount.inners.add(inner), attr.Recorded.Image
		return nil, errAnswered
	}
	node := d.mount.wrap(found)
	if below, ok := node.(*dir); ok {
		below.brief = brief
	}
	return d.NewInode(ctx, node, stable(attr)), 0
}

// stable is what makes a node the same to go-fuse as another, of which it keeps the old
// one. That is right: a file's number is its content's, a directory's its path's, and in an
// image both are unique.
func stable(attr tree.Attr) fusefs.StableAttr {
	s := fusefs.StableAttr{Mode: unixType(attr.Mode), Ino: attr.Ino}
	if attr.Recorded != nil {
		s.Gen = attr.Recorded.Image
	}
	return s
}

// The permission bits that a mask asks for (access(2)).
const (
	executeBit = 1
	readBit    = 4
)

// OpendirHandle starts a listing. Nothing is listed before it is read.
func (d *dir) OpendirHandle(ctx context.Context, _ uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	who := d.mount.whoIs(ctx)
	errno := d.doAtOnce(ctx, "", func(ctx context.Context) error {
		attr, err := d.tree.Attr(ctx)
		if err != nil {
			return err
		}
		return who.permit(attr, readBit)
	})
	if errno != 0 {
		return nil, 0, errno
	}
	return &listing{dir: d}, d.keepListing(), 0
}

// keepListing says for the kernel whether it may list the directory by itself from
// now on, and makes it forget a listing that is no longer right. It is asked
// before anything is read.
func (d *dir) keepListing() uint32 {
	versioned, ok := d.tree.(tree.Versioned)
	if !ok {
		return 0
	}
	version, known := versioned.Version()
	if !known {
		return 0
	}
	if _, ok := d.tree.(tree.Attributed); ok {
		return fuse.FOPEN_CACHE_DIR
	}
	if before := d.listed.Swap(&version); before != nil && *before != version {
		// No READ of a directory can be under way, which this would wait for.
		if errno := d.NotifyContent(0, 0); errno != 0 {
			d.listed.Store(new(string)) // which no version is
			return 0
		}
	}
	return fuse.FOPEN_CACHE_DIR // go-fuse adds FOPEN_KEEP_CACHE, wanted or not
}

func (d *dir) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (d *dir) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (d *dir) Unlink(context.Context, string) syscall.Errno { return syscall.EROFS }

func (d *dir) Rmdir(context.Context, string) syscall.Errno { return syscall.EROFS }

func (d *dir) Rename(context.Context, string, fusefs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EROFS
}

func (d *dir) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (d *dir) Symlink(context.Context, string, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (d *dir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}
