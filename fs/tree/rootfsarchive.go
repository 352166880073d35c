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
	plains []*cache.Plain // of the layers, the lowest first
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
		a.plains = append(a.plains, image.plain(n))
	}
	return a, nil
}

// Size is how many bytes the archive has; it costs a look at each of its files.
func (a *RootfsArchive) Size(ctx context.Context) (int64, error) {
	return a.files.TarSize(ctx)
}

// Write writes all of the archive.
func (a *RootfsArchive) Write(ctx context.Context, w io.Writer) error {
	err := a.files.WriteTar(ctx, w, func(layer int) readat.Reader { return a.plains[layer] }, func(e *rootfs.EntryError) { a.image.report(e) })
	if err != nil {
		return fmt.Errorf("%s@%s: %w", a.image.repo.name(), a.image.digest, err)
	}
	return nil
}

// Close closes the layers.
func (a *RootfsArchive) Close() error {
	errs := make([]error, len(a.plains))
	for n, p := range a.plains {
		errs[n] = p.Close()
	}
	return errors.Join(errs...)
}
