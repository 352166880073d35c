package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// A RootfsArchive is the merged file system of an image as a tar archive, with all its
// layers open. It is for one goroutine.
type RootfsArchive struct {
	image  *rootfsImage
	files  *rootfs.Filesystem
	layers []archiveLayer // the lowest first
}

// An archiveLayer is a layer of which an archive is made. What is not there of its plain bytes
// is made ahead of the archive, several spans at once, as far as all who read in order may be
// ahead: an archive goes from file to file about as its layers do.
type archiveLayer struct {
	plain *cache.Plain
	spans *innerAhead
	ahead *readat.Ahead
}

func (i *rootfsImage) archiveLayer(n int) archiveLayer {
	plain, from := i.plain(n)
	spans := &innerAhead{Reader: plain, tree: i.repo.tree, plain: plain, from: from, closed: make(chan struct{})}
	return archiveLayer{plain, spans, readat.ReadAhead(spans, i.repo.tree.ahead)}
}

func (l archiveLayer) close() error {
	l.ahead.Stop()
	l.spans.stop()
	return l.plain.Close()
}

// OpenRootfsArchive reads what of an image's layers is not known yet, and opens them all: a
// mount that looks into the image has read them then too. told is told how many more bytes of
// layers, as they are stored, have been read of how many in all, never by two at once; it may be
// nil. The error is [ErrNotImage] where there is no file system. The caller closes the archive.
func (i *Image) OpenRootfsArchive(ctx context.Context, told func(more, all int64)) (*RootfsArchive, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	if err := imageOnly(resolved); err != nil {
		return nil, fmt.Errorf("%s@%s: %w", i.repo.name(), resolved.Digest, err)
	}
	image, err := i.repo.rootfsImage(resolved)
	if err != nil {
		return nil, err
	}
	// What the config says of the plain layers is checked where it can be had.
	_, _ = image.configOf(ctx, true)
	var all int64
	for _, d := range image.layers {
		all += d.Size
	}
	for n := range image.layers {
		if _, err := image.layer(ctx, n, func(more int64) {
			if told != nil {
				told(more, all)
			}
		}); err != nil {
			return nil, err
		}
	}
	a := &RootfsArchive{image: image}
	if a.files, err = image.files.Filesystem(ctx); err != nil {
		return nil, err
	}
	for n := range image.layers {
		a.layers = append(a.layers, image.archiveLayer(n))
	}
	return a, nil
}

// Size is how many bytes the archive has; it costs a look at each of its files.
func (a *RootfsArchive) Size(ctx context.Context) (int64, error) {
	return a.files.TarSize(ctx)
}

// Write writes all of the archive.
func (a *RootfsArchive) Write(ctx context.Context, w io.Writer) error {
	err := a.files.WriteTar(ctx, w, func(layer int) readat.Reader { return a.layers[layer].ahead }, func(e *rootfs.EntryError) { a.image.report(e) })
	if err != nil {
		return fmt.Errorf("%s@%s: %w", a.image.repo.name(), a.image.digest, err)
	}
	return nil
}

// Close closes the layers.
func (a *RootfsArchive) Close() error {
	errs := make([]error, len(a.layers))
	for n, l := range a.layers {
		errs[n] = l.close()
	}
	return errors.Join(errs...)
}
