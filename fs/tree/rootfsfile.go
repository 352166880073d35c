package tree

import (
	"context"
	"fmt"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// A rootfsFile is a regular file that is in an image.
type rootfsFile struct{ innerLeaf }

var _ File = rootfsFile{}

// Open asks for nothing, and looks for nothing: the kernel opens files of which it has all the
// pages.
func (f rootfsFile) Open(context.Context) (OpenFile, error) { return &openInner{file: f}, nil }

var _ KeptFile = (*openInner)(nil)

// An openInner is an open file that is in an image. It is safe for concurrent use.
type openInner struct {
	file  rootfsFile
	first sync.Once

	// Set by first.
	from  readat.Reader
	layer v1.Descriptor
	entry rootfs.Entry
	plain *cache.Plain  // nil where nothing is read
	ahead *readat.Ahead // nil of a file that is not read ahead, as what follows
	spans *innerAhead
	err   error

	guard sync.Once
	shut  error // set by guard
}

// begin finds out where the bytes are, when somebody wants to know. What is missing of the plain
// layer is made when it is read.
func (o *openInner) begin() {
	o.first.Do(func() {
		image := o.file.image
		n, entry, ok := image.files.Contents(o.file.node)
		if !ok {
			o.from = readat.Bytes(nil)
			o.err = fmt.Errorf("%s@%s: a file without contents", image.repo.name(), image.digest)
			return
		}
		if entry.Stored() == 0 {
			o.from = entry.Contents(nil)
			return
		}
		plain, spans := image.plain(n)
		o.plain, o.layer, o.entry = plain, image.layers[n], entry
		o.from = entry.Contents(o.plain)
		if entry.Size >= minInnerAhead && len(entry.Extents) == 0 {
			t := image.repo.tree
			o.spans = &innerAhead{
				Reader: o.from, tree: t, plain: plain, from: spans, data: entry.Data, closed: make(chan struct{}),
			}
			o.ahead = readat.ReadAhead(o.spans, t.ahead)
			o.from = o.ahead
		}
	})
}

func (o *openInner) Size() int64 {
	o.begin()
	return o.from.Size()
}

// ReadAt reads. A program for which no request is made gets nothing of a layer that is not all
// there.
func (o *openInner) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	o.begin()
	if o.err != nil {
		return 0, o.err
	}
	if o.plain != nil {
		o.guard.Do(func() {
			repo := o.file.image.repo
			if repo.local.Kept(o.layer.Digest) < o.layer.Size && repo.tree.pacer.shuts(ctx) {
				o.shut = fmt.Errorf("read a file of %s, layer %s: %w", repo.name(), o.layer.Digest, ErrCrawler)
			}
		})
		if o.shut != nil {
			return 0, o.shut
		}
	}
	return o.from.ReadAt(ctx, p, off)
}

// ReadKept reads the beginning of a file without holes where it is on disk. A program for which
// no request is made may have it: there is none.
func (o *openInner) ReadKept(p []byte) bool {
	o.begin()
	return o.plain != nil && len(o.entry.Extents) == 0 && int64(len(p)) <= o.entry.Size && o.plain.ReadKept(p, o.entry.Data)
}

// Verified says that what is read was checked: nothing of a layer is known before all of it
// was, or its table of contents, which has a digest of each span.
func (o *openInner) Verified() bool { return true }

// Close closes the file.
func (o *openInner) Close() error {
	o.first.Do(func() {}) // nothing is begun any more
	if o.ahead != nil {
		o.ahead.Stop()
		o.spans.stop()
	}
	if o.plain == nil {
		return nil
	}
	return o.plain.Close()
}
