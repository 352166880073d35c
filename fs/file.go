package fs

import (
	"context"
	"io"
	"strings"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// file is a regular file.
type file struct {
	node // of a tree.File
}

// shown is the tree's file.
func (f *file) shown() tree.File {
	shown, _ := f.tree.(tree.File) // see wrap
	return shown
}

var _ fusefs.NodeOpener = (*file)(nil)

// Open opens the file. Nothing is to be flushed when it is closed, which would be a call for
// each.
func (f *file) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC|syscall.O_APPEND) != 0 {
		return nil, 0, syscall.EROFS
	}
	who := f.mount.whoIs(ctx)
	var open tree.OpenFile
	var attr tree.Attr
	errno := f.doAtOnce(ctx, "", func(ctx context.Context) error {
		var err error
		if attr, err = f.tree.Attr(ctx); err != nil {
			return err
		}
		mask := uint32(readBit)
		if flags&execFlag != 0 {
			mask = executeBit
		}
		if err := who.permit(attr, mask); err != nil {
			return err
		}
		open, err = f.shown().Open(ctx)
		return err
	})
	if errno != 0 {
		return nil, 0, errno
	}
	h := &handle{file: f, ino: attr.Ino, open: open}
	if attr.Lifetime == 0 {
		// Its bytes are made anew for each open.
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
	}
	if attr.Recorded != nil {
		f.give(open, attr.Size)
		// Whatever pages there are were read from the same image, and checked.
		return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
	}
	h.counted = true
	mode, backing := f.mount.opens.add(attr.Ino, open.Verified(), f.backing(ctx, open))
	switch mode {
	case passed:
		// Where the kernel cannot, it is as if opened first: with no pages.
		return &passedHandle{handle: h, backing: backing}, 0, 0
	case kept:
		return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
	case fresh:
		return h, fuse.FOPEN_NOFLUSH, 0
	default:
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
	}
}

// execFlag is how Linux opens a file to run it (FMODE_EXEC): that takes no permission to read.
const execFlag = 0x20

// handle is one open file.
type handle struct {
	file    *file
	ino     uint64
	open    tree.OpenFile
	counted bool // among the open files of the inode; set before it is read
	once    sync.Once
}

var (
	_ fusefs.FileReader   = (*handle)(nil)
	_ fusefs.FileReleaser = (*handle)(nil)
)

func (h *handle) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n := 0
	errno := h.file.do(ctx, "", func(ctx context.Context) error {
		return h.file.mount.crowd.join(ctx, h.file.host, func(ctx context.Context) error {
			var err error
			n, err = h.open.ReadAt(ctx, p, off)
			if err == io.EOF { //nolint:errorlint // one that wraps it is no end of the file
				err = nil
			}
			return err
		})
	})
	if errno == syscall.EBADMSG {
		h.file.forget()
	}
	if errno != 0 {
		return nil, errno
	}
	return fuse.ReadResultData(p[:n]), 0
}

// host is the registry that the file is of: the first name of its path.
func (f *file) host() string {
	name, _, _ := strings.Cut(f.path(), "/")
	return name
}

// forget drops the file's pages from the kernel's cache. Not from within a READ:
// the kernel holds the page that it wants filled, and would wait for itself.
func (f *file) forget() {
	if inner, ok := f.tree.(tree.Inner); ok {
		go f.mount.inners.drop(inner)
		return
	}
	go func() { _ = f.NotifyContent(0, 0) }() // an inode that is gone has no pages
}

func (h *handle) Release(ctx context.Context) syscall.Errno {
	h.once.Do(func() {
		if h.counted {
			h.file.mount.opens.close(ctx.Done(), h.ino)
		}
		if err := h.open.Close(); err != nil {
			h.file.mount.opts.Logger.Warn("close", "path", h.file.path(), "error", err)
		}
	})
	return 0
}
