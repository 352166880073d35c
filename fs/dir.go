package fs

import (
	"context"
	"iter"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// dir is a directory. It remembers nothing: the tree resolves each name, and
// the kernel remembers for as long as the tree said.
type dir struct {
	node
	dir tree.Dir
}

var (
	_ fusefs.NodeLookuper       = (*dir)(nil)
	_ fusefs.NodeOpendirHandler = (*dir)(nil)
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
	mounter := d.mount.isMounter(ctx)
	var found fusefs.InodeEmbedder
	var attr tree.Attr
	errno := d.do(ctx, name, func(ctx context.Context) error {
		own, err := d.dir.Attr(ctx)
		if err != nil {
			return err
		}
		if !mounter {
			if err := permit(own.Mode, executeBit); err != nil {
				return err
			}
		}
		child, err := d.dir.Lookup(ctx, name)
		if err != nil {
			return err
		}
		if attr, err = child.Node.Attr(ctx); err != nil {
			return err
		}
		d.mount.fill(&out.Attr, attr)
		out.SetEntryTimeout(lifetime(child.Lifetime))
		out.SetAttrTimeout(lifetime(attr.Lifetime))
		found = d.mount.wrap(child.Node)
		return nil
	})
	if errno != 0 {
		return nil, errno
	}
	// The same number is the same node to go-fuse, which keeps the old one. That
	// is right: a file's number is its content's, a directory's its path's.
	return d.NewInode(ctx, found, fusefs.StableAttr{Mode: unixType(attr.Mode), Ino: attr.Ino}), 0
}

// The permission bits that a mask asks for (access(2)).
const (
	executeBit = 1
	readBit    = 4
)

// OpendirHandle starts a listing. Nothing is listed before it is read.
func (d *dir) OpendirHandle(ctx context.Context, _ uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	mounter := d.mount.isMounter(ctx)
	errno := d.do(ctx, "", func(ctx context.Context) error {
		attr, err := d.dir.Attr(ctx)
		if err != nil || mounter {
			return err
		}
		return permit(attr.Mode, readBit)
	})
	if errno != 0 {
		return nil, 0, errno
	}
	return &listing{dir: d}, 0, 0
}

// listing is one open directory. Entries are kept as they come, so that a
// program may go back to any of them (rewinddir, seekdir).
type listing struct {
	dir *dir

	mu      sync.Mutex
	next    func() (tree.Entry, error, bool) // guarded by mu; nil before the first read
	stop    func()                           // guarded by mu
	entries []tree.Entry                     // guarded by mu; what came so far
	at      int                              // guarded by mu; the next to hand out
	ended   bool                             // guarded by mu
	ctx     *pullContext                     // guarded by mu
}

var (
	_ fusefs.FileReaddirenter = (*listing)(nil)
	_ fusefs.FileSeekdirer    = (*listing)(nil)
	_ fusefs.FileReleasedirer = (*listing)(nil)
)

// Readdirent returns the next entry, nil at the end.
func (l *listing) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == len(l.entries) && !l.ended {
		errno := l.dir.do(ctx, "", l.pull)
		if errno != 0 {
			return nil, errno
		}
	}
	if l.at == len(l.entries) {
		return nil, 0
	}
	e := l.entries[l.at]
	l.at++
	return &fuse.DirEntry{Name: e.Name, Mode: unixType(e.Mode), Ino: e.Ino, Off: uint64(l.at)}, 0
}

// pull takes one more entry from the tree. l.mu is held.
func (l *listing) pull(ctx context.Context) error {
	if l.next == nil {
		// The iteration outlives this call, so its context must too; each call lends
		// it its own.
		l.ctx = newPullContext()
		l.next, l.stop = iter.Pull2(l.dir.dir.List(l.ctx))
	}
	l.ctx.lend(ctx)
	e, err, ok := l.next()
	l.ctx.lend(context.Background())
	if err != nil {
		// The iteration is over; a program that reads on starts a new one.
		l.close()
		return err
	}
	if !ok {
		l.ended = true
		return nil
	}
	l.entries = append(l.entries, e)
	return nil
}

// close ends the iteration. l.mu is held.
func (l *listing) close() {
	if l.stop != nil {
		l.stop()
	}
	l.next, l.stop, l.entries, l.at = nil, nil, nil, 0
}

// Seekdir goes to where an earlier entry ended; 0 is the beginning.
func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off > uint64(len(l.entries)) {
		return syscall.EINVAL
	}
	l.at = int(off)
	return 0
}

// Releasedir ends the listing.
func (l *listing) Releasedir(context.Context, uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.close()
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
