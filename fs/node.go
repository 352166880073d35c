package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// mount is what all nodes of a mount share.
type mount struct {
	opts   Options
	errors *ErrorLog
	opens  *opens
	inners *inners
	given  given
	crowd  *crowd
	passes bool         // the kernel may be given files to read by itself
	uid    uint32       // of the process that serves
	absent atomic.Int64 // when the kernel was last told that a name does not exist; Unix nanoseconds
}

// node is what every kind of node has: the tree's node, and how to describe it. go-fuse keeps
// them, but for files in images, which are made anew for each request and have no Inode.
type node struct {
	fusefs.Inode
	mount *mount
	tree  tree.Node
}

var (
	_ fusefs.NodeGetattrer   = (*node)(nil)
	_ fusefs.NodeAccesser    = (*node)(nil)
	_ fusefs.NodeStatfser    = (*node)(nil)
	_ fusefs.NodeGetxattrer  = (*node)(nil)
	_ fusefs.NodeListxattrer = (*node)(nil)
	_ fusefs.NodeSetattrer   = (*node)(nil)
	_ fusefs.NodeIoctler     = (*node)(nil)
	_ fusefs.NodeFsyncer     = (*node)(nil)
)

// do runs one operation on name in the node ("" is the node itself): in its own
// time, with its error in the log and as an errno.
func (n *node) do(ctx context.Context, name string, work func(context.Context) error) syscall.Errno {
	return n.answer(name, n.mount.wait(ctx, work))
}

// errNotAtOnce ends what cannot be done without waiting.
var errNotAtOnce = errors.New("it has to be waited for")

// atOnce is the context of what is not to wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNotAtOnce)
	return ctx
}()

// doAtOnce is do for an operation that most often needs not wait where it is about what is in
// an image: then it goes without all that a wait takes. Work may be called twice.
func (n *node) doAtOnce(ctx context.Context, name string, work func(context.Context) error) syscall.Errno {
	if _, ok := n.tree.(tree.Attributed); ok {
		if err := work(atOnce); !errors.Is(err, errNotAtOnce) {
			return n.answer(name, err)
		}
	}
	return n.do(ctx, name, work)
}

// answer is an error as errno, which the log has too.
func (n *node) answer(name string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if isNews(err) {
		path := n.path()
		if name != "" && path != "" {
			path += "/"
		}
		n.mount.report(path+name, err)
	}
	return toErrno(err)
}

// path is where the node is from the root of the mount, by one of its names: that which was looked
// up last, or of a file in an image one that its layer has.
func (n *node) path() string {
	if inner, ok := n.tree.(tree.Inner); ok {
		from, number := inner.Origin()
		return from.Path(number)
	}
	return n.Path(nil)
}

func (m *mount) report(path string, err error) {
	if m.errors.add(path, err) {
		m.opts.Logger.Warn("operation", "path", path, "errno", toErrno(err).Error(), "error", reason(err))
	}
}

func (n *node) Getattr(ctx context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.doAtOnce(ctx, "", func(ctx context.Context) error {
		attr, err := n.tree.Attr(ctx)
		if err != nil {
			return err
		}
		n.mount.fill(&out.Attr, attr)
		out.SetTimeout(lifetime(attr.Lifetime))
		return nil
	})
}

// Access checks the mode for those who are not the mounter: the mount has no
// default_permissions, which would bind the mounter too.
func (n *node) Access(ctx context.Context, mask uint32) syscall.Errno {
	who := n.mount.whoIs(ctx)
	return n.doAtOnce(ctx, "", func(ctx context.Context) error {
		attr, err := n.tree.Attr(ctx)
		if err != nil {
			return err
		}
		return who.permit(attr, mask)
	})
}

// Statfs answers from constants: df must not ask a registry.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{Bsize: blockSize, Frsize: blockSize, NameLen: 255}
	return 0
}

func (n *node) Setattr(context.Context, fusefs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (n *node) Ioctl(context.Context, fusefs.FileHandle, uint32, uint64, []byte, []byte) (int32, syscall.Errno) {
	return 0, syscall.ENOTTY
}

// Fsync has nothing to do, for files and directories alike: sync(1) of a file,
// and programs that copy a tree with care, call it on what they only read.
func (n *node) Fsync(context.Context, fusefs.FileHandle, uint32) syscall.Errno { return 0 }

// blockSize is what st_blksize says: programs copy in pieces of it. Each piece is
// a call to this process where the kernel keeps no pages, so that cp took a
// fifth longer with 128 KiB, which is what it uses by itself; more than this gained
// nothing, and costs those who buffer as much to look at a few bytes.
const blockSize = 512 << 10

func (m *mount) fill(out *fuse.Attr, a tree.Attr) {
	out.Ino = a.Ino
	out.Mode = unixMode(a.Mode)
	out.Size = uint64(a.Size)
	// tar -S takes a file without blocks for one hole, and archives zeros.
	out.Blocks = uint64(a.Size+511) / 512
	out.Blksize = blockSize
	out.Nlink = 1
	out.Uid, out.Gid = m.opts.UID, m.opts.GID
	if r := a.Recorded; r != nil {
		out.Nlink, out.Uid, out.Gid = r.Links, r.UID, r.GID
		out.Rdev = deviceNumber(r.Devmajor, r.Devminor)
	}
	t := a.ModTime
	if t.Before(time.Unix(0, 0)) {
		t = time.Unix(0, 0)
	}
	out.SetTimes(&t, &t, &t)
}

// unixMode is st_mode (inode(7)).
func unixMode(mode iofs.FileMode) uint32 {
	bits := uint32(mode.Perm()) | unixType(mode)
	if mode&iofs.ModeSetuid != 0 {
		bits |= syscall.S_ISUID
	}
	if mode&iofs.ModeSetgid != 0 {
		bits |= syscall.S_ISGID
	}
	if mode&iofs.ModeSticky != 0 {
		bits |= syscall.S_ISVTX
	}
	return bits
}

func unixType(mode iofs.FileMode) uint32 {
	switch mode.Type() {
	case iofs.ModeDir:
		return syscall.S_IFDIR
	case iofs.ModeSymlink:
		return syscall.S_IFLNK
	case iofs.ModeNamedPipe:
		return syscall.S_IFIFO
	case iofs.ModeDevice:
		return syscall.S_IFBLK
	case iofs.ModeDevice | iofs.ModeCharDevice:
		return syscall.S_IFCHR
	}
	return syscall.S_IFREG
}

// deviceNumber is a number as FUSE has it: new_encode_dev of Linux, 12 bits of major
// and 20 of minor.
func deviceNumber(major, minor uint32) uint32 {
	return minor&0xff | major&0xfff<<8 | minor&^0xff<<12
}

// maxLifetime is as long as the kernel is told that something stays: it has no
// "for ever".
const maxLifetime = 365 * 24 * time.Hour

func lifetime(d time.Duration) time.Duration { return min(max(d, 0), maxLifetime) }

// wrap makes the FUSE node of a tree's.
func (m *mount) wrap(t tree.Node) fusefs.InodeEmbedder {
	switch t.(type) {
	case tree.Dir:
		return &dir{node: node{mount: m, tree: t}}
	case tree.Link:
		return &link{node{mount: m, tree: t}}
	case tree.File:
		return &file{node{mount: m, tree: t}}
	}
	return &special{node{mount: m, tree: t}}
}

// special is a device or a named pipe. The kernel opens none by the file system, and
// of a mount that is nodev no device at all.
type special struct{ node }
