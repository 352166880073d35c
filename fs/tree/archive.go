package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry"
)

// openArchive opens an archive with all its blobs: what is open stays readable
// to its end, and whether all of it is verified is known.
func (r *repository) openArchive(ctx context.Context, a *imagetar.Archive) (OpenFile, error) {
	open := &openArchive{}
	readers := make([]readat.Reader, 0, len(a.Blobs()))
	for _, d := range a.Blobs() {
		blob, err := r.local.Blob(d.Digest, d.Size, Source(r.tree.opts.Client, r.remote, d)).Open(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s@%s: %w", r.name(), d.Digest, err), open.Close())
		}
		open.blobs = append(open.blobs, blob)
		readers = append(readers, blob)
	}
	whole, err := a.Reader(readers)
	if err != nil {
		return nil, errors.Join(err, open.Close())
	}
	open.Reader = readat.ReadAhead(whole)
	return open, nil
}

// An openArchive is an open image.tar.
type openArchive struct {
	readat.Reader
	blobs []*cache.Reader // in the archive's order
}

var _ OpenFile = (*openArchive)(nil)

func (o *openArchive) Verified() bool {
	for _, blob := range o.blobs {
		if !blob.Verified() {
			return false
		}
	}
	return true
}

func (o *openArchive) Close() error {
	errs := make([]error, len(o.blobs))
	for i, blob := range o.blobs {
		errs[i] = blob.Close()
	}
	return errors.Join(errs...)
}

// Source is where the bytes of a blob of a repository come from: from there, and
// for a foreign layer also from the addresses that its descriptor names.
func Source(client *registry.Client, repo *registry.Repository, d v1.Descriptor) cache.Fetcher {
	if len(d.URLs) == 0 {
		return repo
	}
	return foreignLayer{repo, client, d.URLs}
}

// foreignLayer is a layer that its manifest says is found elsewhere. Registries
// may hold it all the same, so they are asked first.
type foreignLayer struct {
	repository *registry.Repository
	client     *registry.Client
	urls       []string
}

// maxURLs bounds how many addresses are asked for one layer: a manifest that
// names thousands wants a storm, not a layer.
const maxURLs = 8

func (f foreignLayer) BlobRange(ctx context.Context, d v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	body, start, err := f.repository.BlobRange(ctx, d, off, n)
	if !isAbsent(err) {
		return body, start, err
	}
	absent := err
	var failed []error
	for _, url := range f.urls[:min(len(f.urls), maxURLs)] {
		body, start, err := f.client.URLRange(ctx, url, off, n)
		if err == nil {
			return body, start, nil
		}
		if !isAbsent(err) {
			failed = append(failed, err)
		}
	}
	if failed != nil {
		// It may be there: that the registry does not have it is told, and is not the
		// answer.
		return nil, 0, errors.Join(append(failed, errors.New(absent.Error()))...)
	}
	return nil, 0, absent
}
