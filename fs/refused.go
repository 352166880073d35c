package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What follows does nothing to a file in an image, as it does nothing to others: the mount is
// read-only. Most of it the kernel refuses by itself.

const refused = fuse.Status(syscall.EROFS)

// SetAttr changes nothing.
func (k *kernel) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.SetAttr(cancel, in, out)
	}
	return refused
}

// Link makes no link.
func (k *kernel) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if !isInner(in.Oldnodeid) {
		return k.RawFileSystem.Link(cancel, in, name, out)
	}
	return refused
}

// SetXAttr sets none.
func (k *kernel) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.SetXAttr(cancel, in, name, value)
	}
	return refused
}

// RemoveXAttr removes none.
func (k *kernel) RemoveXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if !isInner(header.NodeId) {
		return k.RawFileSystem.RemoveXAttr(cancel, header, name)
	}
	return refused
}

// Write writes nothing.
func (k *kernel) Write(cancel <-chan struct{}, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Write(cancel, in, p)
	}
	return 0, refused
}

// Writev writes nothing.
func (k *kernel) Writev(cancel <-chan struct{}, in *fuse.WriteIn, p [][]byte) (uint32, fuse.Status) {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Writev(cancel, in, p)
	}
	return 0, refused
}

// Fallocate makes no room.
func (k *kernel) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Fallocate(cancel, in)
	}
	return refused
}

// CopyFileRange copies nothing: whoever asks for it reads and writes then.
func (k *kernel) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	if !isInner(in.NodeId) && !isInner(in.NodeIdOut) {
		return k.RawFileSystem.CopyFileRange(cancel, in)
	}
	return 0, fuse.Status(syscall.EOPNOTSUPP)
}

// Flush has nothing to do.
func (k *kernel) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Flush(cancel, in)
	}
	return fuse.OK
}

// Fsync has nothing to do, as [node.Fsync].
func (k *kernel) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Fsync(cancel, in)
	}
	return fuse.OK
}

// Ioctl knows no command, as [node.Ioctl].
func (k *kernel) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, p []byte, out *fuse.IoctlOut, answer []byte) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.Ioctl(cancel, in, p, out, answer)
	}
	return fuse.Status(syscall.ENOTTY)
}

// GetLk is not asked: the kernel locks by itself.
func (k *kernel) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.GetLk(cancel, in, out)
	}
	return fuse.Status(syscall.EOPNOTSUPP)
}

// SetLk is not asked either.
func (k *kernel) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.SetLk(cancel, in)
	}
	return fuse.Status(syscall.EOPNOTSUPP)
}

// SetLkw is not asked either.
func (k *kernel) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	if !isInner(in.NodeId) {
		return k.RawFileSystem.SetLkw(cancel, in)
	}
	return fuse.Status(syscall.EOPNOTSUPP)
}
