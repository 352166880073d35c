package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// A RootfsArchive is the merged file system of an image as a tar archive, with all its
// layers open. It is for one goroutine.
type RootfsArchive struct {
	name   string // of the image, for errors
	files  *rootfs.Filesystem
	layers []*openLayer // the lowest first
	report func(error)
}

// OpenRootfsArchive reads what of an image's layers is not known yet, and opens them all.
// told is told from several goroutines how many more bytes of layers, as they are stored,
// have been read of how many in all; it may be nil. The error is [ErrNotImage] where there
// is no file system. The caller closes the archive.
func (i *Image) OpenRootfsArchive(ctx context.Context, told func(more, all int64)) (*RootfsArchive, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s@%s", i.repo.name(), resolved.Digest)
	if err := imageOnly(resolved); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a := &RootfsArchive{name: name, report: func(err error) { i.repo.tree.opts.Report(name, err) }}
	if a.layers, err = i.repo.openLayers(ctx, resolved, a.report, told); err != nil {
		return nil, err
	}
	trees := make([]*rootfs.LayerTree, len(a.layers))
	for n, l := range a.layers {
		trees[n] = l.tree
	}
	a.files = rootfs.NewFilesystem(trees, func(_ int, e *rootfs.EntryError) { a.report(e) })
	return a, nil
}

// Size is how many bytes the archive has; it costs a look at each of its files.
func (a *RootfsArchive) Size(ctx context.Context) (int64, error) {
	return a.files.TarSize(ctx)
}

// Write writes all of the archive.
func (a *RootfsArchive) Write(ctx context.Context, w io.Writer) error {
	err := a.files.WriteTar(ctx, w, func(layer int) readat.Reader { return a.layers[layer].plain }, func(e *rootfs.EntryError) { a.report(e) })
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}

// Close closes the layers.
func (a *RootfsArchive) Close() error {
	errs := make([]error, len(a.layers))
	for n, l := range a.layers {
		errs[n] = l.Close()
	}
	return errors.Join(errs...)
}
