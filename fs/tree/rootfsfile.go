package tree

import (
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// A rootfsFile is a regular file that is in an image.
type rootfsFile struct{ innerNode }

var _ File = rootfsFile{}

// Open asks for nothing: what is missing of the plain layer is made when it is read.
func (f rootfsFile) Open(context.Context) (OpenFile, error) {
	n, entry, ok := f.image.files.Contents(f.node)
	if !ok {
		return nil, fmt.Errorf("%s@%s: a file without contents", f.image.repo.name(), f.image.digest)
	}
	if entry.Stored() == 0 {
		return &openInner{Reader: entry.Contents(nil)}, nil
	}
	plain := f.image.plain(n)
	open := &openInner{Reader: entry.Contents(plain), repo: f.image.repo, layer: f.image.layers[n], plain: plain}
	if entry.Size >= minInnerAhead && len(entry.Extents) == 0 {
		t := f.image.repo.tree
		open.spans = &innerAhead{
			Reader: open.Reader, tree: t, plain: plain, data: entry.Data,
			span: f.image.opened[n].Load().index.Plain(nil).Span, closed: make(chan struct{}),
		}
		open.ahead = readat.ReadAhead(open.spans, t.ahead)
		open.Reader = open.ahead
	}
	return open, nil
}

// An openInner is an open file that is in an image. It is safe for concurrent use.
type openInner struct {
	readat.Reader
	repo  *repository
	layer v1.Descriptor
	plain *cache.Plain  // nil where nothing is read
	ahead *readat.Ahead // nil of a file that is not read ahead, as what follows
	spans *innerAhead

	guard sync.Once
	shut  error // set by guard
}

// ReadAt reads. A program for which no request is made gets nothing of a layer that is not all
// there.
func (o *openInner) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if o.plain != nil {
		o.guard.Do(func() {
			if o.repo.local.Kept(o.layer.Digest) < o.layer.Size && o.repo.tree.pacer.shuts(ctx) {
				o.shut = fmt.Errorf("read a file of %s, layer %s: %w", o.repo.name(), o.layer.Digest, ErrCrawler)
			}
		})
		if o.shut != nil {
			return 0, o.shut
		}
	}
	return o.Reader.ReadAt(ctx, p, off)
}

// Verified says that what is read was checked: nothing of a layer is known before all of it
// was, or its table of contents, which has a digest of each span.
func (o *openInner) Verified() bool { return true }

// Close closes the file.
func (o *openInner) Close() error {
	if o.ahead != nil {
		o.ahead.Stop()
		o.spans.stop()
	}
	if o.plain == nil {
		return nil
	}
	return o.plain.Close()
}

// layerSpans makes plain bytes of a layer out of its blob, which is opened for each span:
// most who read a file find its bytes on disk.
type layerSpans struct {
	repo  *repository
	layer v1.Descriptor
	index *rootfs.Index
	plain *rootfs.PlainReader // for what the index alone says
}

var _ cache.Spans = layerSpans{}

func (s layerSpans) Size() int64 { return s.plain.Size() }

func (s layerSpans) Span(off int64) (begin, end int64) { return s.plain.Span(off) }

func (s layerSpans) CopySpan(ctx context.Context, w io.Writer, off int64) error {
	blob, err := s.repo.openBlob(ctx, s.layer)
	if err != nil {
		return err
	}
	// It is known what of the blob is needed: nothing is fetched ahead.
	err = s.index.Plain(blob.blob).CopySpan(ctx, w, off)
	if failed := blob.Close(); err == nil {
		err = failed
	}
	return err
}
