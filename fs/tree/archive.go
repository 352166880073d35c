package tree

import (
	"context"
	"errors"
	"fmt"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// openArchive opens an archive with all its blobs: what is open stays readable
// to its end, and whether all of it is verified is known.
func (r *repository) openArchive(ctx context.Context, a *imagetar.Archive) (*openArchive, error) {
	open := &openArchive{}
	readers := make([]readat.Reader, 0, len(a.Blobs()))
	for _, d := range a.Blobs() {
		blob, err := r.local.Blob(d.Digest, d.Size, BlobFetcher(r.tree.opts.Client, r.remote, d)).Open(ctx)
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
	open.Ahead = readat.ReadAhead(whole, r.tree.ahead)
	return open, nil
}

// An openArchive is an open image.tar.
type openArchive struct {
	*readat.Ahead
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
	if o.Ahead != nil {
		o.Stop()
	}
	errs := make([]error, len(o.blobs))
	for i, blob := range o.blobs {
		errs[i] = blob.Close()
	}
	return errors.Join(errs...)
}
