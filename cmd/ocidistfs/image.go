package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// An image is what is pulled, through the cache or without it.
type image struct {
	referenced, resolved cache.Manifest
	size                 int64 // of the archive, in bytes
	// write copies the archive from its beginning to its end.
	write func(ctx context.Context, w io.Writer) error
	// save does the same to an empty file, without copying where the file system
	// can share blocks with the cache's files. What is done is written to meter.
	save    func(ctx context.Context, dst *os.File, meter io.Writer) error
	release func()
}

// cachedImage opens the image through the cache in dir: what is there is not fetched
// again. The caller releases it.
func (p *pull) cachedImage(ctx context.Context, client *registry.Client, dir string, log *slog.Logger) (image, error) {
	store, err := cache.Open(dir, p.limits.options(cache.Options{Logger: log}))
	if err != nil {
		return image{}, advised{err, "--cache-dir names another; --no-cache does without"}
	}
	t := tree.New(tree.Options{
		Client: client, Store: store, Platform: p.platform, Offline: p.offline,
		ReadAhead: int64(p.ahead.ReadAhead), Connections: p.ahead.Connections,
	})
	img, err := imageOf(ctx, t, store, p.ref)
	img.release = func() {
		t.Close()
		_ = store.Close() // nothing is written by then
	}
	if err != nil {
		img.release()
		return image{}, err
	}
	return img, nil
}

// imageOf takes an image out of a tree, of which store is the cache.
func imageOf(ctx context.Context, t *tree.Tree, store *cache.Store, ref registry.Reference) (image, error) {
	i, err := t.Image(ctx, ref)
	if err != nil {
		return image{}, err
	}
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return image{}, err
	}
	archive, err := i.Archive(ctx)
	if err != nil {
		return image{}, err
	}
	open := func(ctx context.Context, use func(*tree.OpenArchive) error) (err error) {
		tar, err := i.OpenTar(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tar.Close()) }()
		return use(tar)
	}
	return image{
		referenced: i.Manifest(),
		resolved:   resolved,
		size:       archive.Size(),
		write: func(ctx context.Context, w io.Writer) error {
			return open(ctx, func(tar *tree.OpenArchive) error { return copyAll(ctx, w, tar) })
		},
		save: func(ctx context.Context, dst *os.File, meter io.Writer) error {
			return open(ctx, func(tar *tree.OpenArchive) error { return saveTar(ctx, dst, meter, tar, store) })
		},
	}, nil
}

// An assembled file is made of what the cache has as files, such as image.tar or a
// layer.
type assembled interface {
	tree.OpenFile
	Intact() bool
	Parts() []cache.Part
}

var _ assembled = (*tree.OpenArchive)(nil)

// saveTar writes an archive to an empty file. Where it can be made of the cache's
// files, all that is done before is to bring into the cache what is missing.
func saveTar(ctx context.Context, dst *os.File, meter io.Writer, tar assembled, store *cache.Store) error {
	if !store.CanClone(dst) || !tar.Intact() && !store.Fits(tar.Size()) {
		return copyAll(ctx, io.MultiWriter(&writtenBack{File: dst}, meter), tar)
	}
	if !tar.Intact() {
		if err := copyAll(ctx, meter, tar); err != nil {
			return err
		}
	}
	err := cache.Assemble(ctx, dst, tar.Parts())
	if !errors.Is(err, cache.ErrNotCloned) {
		return err
	}
	if err := dst.Truncate(0); err != nil {
		return err
	}
	return copyAll(ctx, &writtenBack{File: dst}, tar)
}

// copyAll copies an open file in order. It looks at ctx itself: a read of what is
// there already does not wait, and so does not.
func copyAll(ctx context.Context, w io.Writer, from tree.OpenFile) error {
	b := make([]byte, 1<<20)
	for off := int64(0); off < from.Size(); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := from.ReadAt(ctx, b[:min(int64(len(b)), from.Size()-off)], off)
		if n == 0 && err != nil {
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// streamedImage streams the image from the registry, and keeps nothing of it.
func streamedImage(ctx context.Context, client *registry.Client, repo *registry.Repository, ref registry.Reference, platform tree.Platform) (image, error) {
	referenced, err := fetched(ctx, repo, identifier(ref))
	if err != nil {
		return image{}, err
	}
	resolved, err := resolvedOf(ctx, repo, referenced, platform)
	if err != nil {
		return image{}, err
	}
	archive, err := tree.ArchiveOf(ref, resolved)
	if err != nil {
		return image{}, err
	}
	write := func(ctx context.Context, w io.Writer) error {
		return archive.Write(ctx, w, func(ctx context.Context, w io.Writer, d v1.Descriptor) error {
			return cache.Stream(ctx, w, d.Digest, d.Size, tree.BlobFetcher(client, repo, d))
		})
	}
	return image{
		referenced: referenced,
		resolved:   resolved,
		size:       archive.Size(),
		write:      write,
		save: func(ctx context.Context, dst *os.File, meter io.Writer) error {
			return write(ctx, io.MultiWriter(&writtenBack{File: dst}, meter))
		},
		release: func() {},
	}, nil
}
