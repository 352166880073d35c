package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernel is what the kernel asks: go-fuse, but for files in images, which it need not know. What a
// mount is not asked, since it is read-only, is EROFS.
type kernel struct {
	fuse.RawFileSystem // go-fuse
	mount              *mount
	open               openInners
	reclaimer          *reclaimer
}

// newKernel answers for a mount whose root directory is top.
func newKernel(m *mount, top fusefs.InodeEmbedder, opts *fusefs.Options) *kernel {
	return &kernel{RawFileSystem: fusefs.NewNodeFS(top, opts), mount: m, reclaimer: newReclaimer(collectAll)}
}

// Init is called before anything is asked.
func (k *kernel) Init(s *fuse.Server) {
	k.mount.inners.server = s
	k.RawFileSystem.Init(s)
}

// Lookup has the kernel remember for as long as it is told to that a name does not exist. go-fuse
// knows one time for all, and takes an error with another for one that the kernel is not to
// remember.
func (k *kernel) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if isInner(header.NodeId) {
		return fuse.ENOTDIR
	}
	switch status := k.RawFileSystem.Lookup(cancel, header, name, out); status {
	case fuse.Status(errAnswered):
		return fuse.OK
	case fuse.ENOENT:
		if out.EntryTimeout() == 0 {
			out.SetEntryTimeout(negativeLifetime)
		}
		return fuse.OK // with no node
	default:
		return status
	}
}

// Forget takes lookups back.
func (k *kernel) Forget(id, lookups uint64) {
	defer k.reclaimer.forgot()
	if isInner(id) {
		k.mount.given.remove(id)
		k.mount.inners.forget(id, lookups)
		return
	}
	k.RawFileSystem.Forget(id, lookups)
}

// inner is a file in an image as the request of a header asks it.
func inner[T any](k *kernel, header *fuse.InHeader, cancel <-chan struct{}) (ctx context.Context, node T, ok bool) {
	found := k.mount.inners.node(header.NodeId)
	if found == nil {
		return nil, node, false
	}
	node, ok = k.mount.wrap(found).(T)
	return &fuse.Context{Caller: header.Caller, Cancel: cancel}, node, ok
}

// GetAttr is stat(2).
func (k *kernel) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.GetAttr(cancel, in, out)
	}
	ctx, n, ok := inner[fusefs.NodeGetattrer](k, &in.InHeader, cancel)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	return fuse.Status(n.Getattr(ctx, nil, out))
}

// Statx is not answered: the kernel asks GetAttr then.
func (k *kernel) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Statx(cancel, in, out)
	}
	return fuse.ENOSYS
}

// Readlink is readlink(2).
func (k *kernel) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	if !isInner(header.NodeId) {
		return k.RawFileSystem.Readlink(cancel, header)
	}
	ctx, n, ok := inner[fusefs.NodeReadlinker](k, header, cancel)
	if !ok {
		return nil, fuse.EINVAL
	}
	target, errno := n.Readlink(ctx)
	return target, fuse.Status(errno)
}

// Access is access(2).
func (k *kernel) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Access(cancel, in)
	}
	ctx, n, ok := inner[fusefs.NodeAccesser](k, &in.InHeader, cancel)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	return fuse.Status(n.Access(ctx, in.Mask))
}

// StatFs is statfs(2).
func (k *kernel) StatFs(cancel <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if !isInner(header.NodeId) {
		return k.RawFileSystem.StatFs(cancel, header, out)
	}
	ctx, n, ok := inner[fusefs.NodeStatfser](k, header, cancel)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	return fuse.Status(n.Statfs(ctx, out))
}

// GetXAttr is getxattr(2).
func (k *kernel) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, p []byte) (uint32, fuse.Status) {
	if !isInner(header.NodeId) {
		return k.RawFileSystem.GetXAttr(cancel, header, name, p)
	}
	ctx, n, ok := inner[fusefs.NodeGetxattrer](k, header, cancel)
	if !ok {
		return 0, fuse.Status(syscall.ESTALE)
	}
	size, errno := n.Getxattr(ctx, name, p)
	return size, fuse.Status(errno)
}

// ListXAttr is listxattr(2).
func (k *kernel) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, p []byte) (uint32, fuse.Status) {
	if !isInner(header.NodeId) {
		return k.RawFileSystem.ListXAttr(cancel, header, p)
	}
	ctx, n, ok := inner[fusefs.NodeListxattrer](k, header, cancel)
	if !ok {
		return 0, fuse.Status(syscall.ESTALE)
	}
	size, errno := n.Listxattr(ctx, p)
	return size, fuse.Status(errno)
}

// Open is open(2).
func (k *kernel) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Open(cancel, in, out)
	}
	ctx, n, ok := inner[fusefs.NodeOpener](k, &in.InHeader, cancel)
	if !ok {
		return fuse.Status(syscall.ESTALE) // the kernel opens no others
	}
	f, flags, errno := n.Open(ctx, in.Flags)
	if errno != 0 {
		return fuse.Status(errno)
	}
	h, ok := f.(*handle)
	if !ok {
		return fuse.EIO // others are not of images
	}
	out.Fh, out.OpenFlags = k.open.add(h), flags
	return fuse.OK
}

// Read is read(2).
func (k *kernel) Read(cancel <-chan struct{}, in *fuse.ReadIn, p []byte) (fuse.ReadResult, fuse.Status) {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Read(cancel, in, p)
	}
	h := k.open.get(in.Fh)
	if h == nil {
		return nil, fuse.Status(syscall.EBADF)
	}
	r, errno := h.Read(&fuse.Context{Caller: in.Caller, Cancel: cancel}, p, int64(in.Offset))
	return r, fuse.Status(errno)
}

// Release is the last close(2).
func (k *kernel) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if !isInner(in.NodeId) {
		// It is over when go-fuse has counted it. No other call has its channel meanwhile.
		defer k.mount.opens.over(cancel)
		k.RawFileSystem.Release(cancel, in)
		return
	}
	if h := k.open.remove(in.Fh); h != nil {
		_ = h.Release(&fuse.Context{Caller: in.Caller, Cancel: cancel})
	}
}

// Lseek is lseek(2) for data and holes: no file in an image says that it has any.
func (k *kernel) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Lseek(cancel, in, out)
	}
	const seekData, seekHole = 3, 4
	var attr fuse.AttrOut
	if status := k.GetAttr(cancel, &fuse.GetAttrIn{InHeader: in.InHeader}, &attr); status != fuse.OK {
		return status
	}
	switch {
	case in.Whence != seekData && in.Whence != seekHole:
		return fuse.EINVAL
	case in.Offset >= attr.Size:
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = in.Offset
	if in.Whence == seekHole {
		out.Offset = attr.Size
	}
	return fuse.OK
}
