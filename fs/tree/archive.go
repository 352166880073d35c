package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// openArchive opens an archive with all its blobs: what is open stays readable
// to its end, and whether all of it is verified is known.
func (r *repository) openArchive(ctx context.Context, a *imagetar.Archive) (*OpenArchive, error) {
	open := &OpenArchive{store: r.tree.opts.Store, archive: a}
	readers := make([]readat.Reader, 0, len(a.Blobs()))
	for _, d := range a.Blobs() {
		blob, err := r.local.Blob(d.Digest, d.Size, r.fetcher(d)).Open(ctx)
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

// fetcher is where a blob comes from that the cache does not have.
func (r *repository) fetcher(d v1.Descriptor) cache.Fetcher {
	if r.tree.opts.Offline {
		return noBlob{r.name()}
	}
	return BlobFetcher(r.tree.opts.Client, r.remote, d)
}

// An OpenArchive is an open image.tar. It is safe for concurrent use.
type OpenArchive struct {
	*readat.Ahead
	store   *cache.Store
	archive *imagetar.Archive
	blobs   []*cache.Reader // in the archive's order
}

var _ Backed = (*OpenArchive)(nil)

// Verified says that all blobs are whole, and were checked.
func (o *OpenArchive) Verified() bool {
	for _, blob := range o.blobs {
		if !blob.Verified() {
			return false
		}
	}
	return true
}

// Intact says that all blobs are so on disk that [OpenArchive.Backing] may give
// them away.
func (o *OpenArchive) Intact() bool {
	if !o.store.Clones() {
		return false
	}
	for _, blob := range o.blobs {
		if !blob.Intact() {
			return false
		}
	}
	return true
}

// Backing is the archive as a file: its layers share their blocks with the
// cache's files.
func (o *OpenArchive) Backing(ctx context.Context) (BackingFile, error) {
	f, err := o.store.Assembled(ctx, o.key(), o.Parts())
	if err != nil {
		return nil, err
	}
	return f, nil
}

// key is the same for archives of the same bytes: all of them but those of the
// blobs are in the literal segments, and which blobs there are as well.
func (o *OpenArchive) key() string {
	h := sha256.New()
	for _, s := range o.archive.Segments() {
		h.Write(s.Literal)
	}
	return string(h.Sum(nil))
}

// Parts is what [cache.Assemble] makes the same of in another file.
func (o *OpenArchive) Parts() []cache.Part {
	parts := make([]cache.Part, 0, len(o.archive.Segments()))
	next := 0
	for _, s := range o.archive.Segments() {
		if s.Blob == nil {
			parts = append(parts, cache.Part{Bytes: s.Literal})
			continue
		}
		parts = append(parts, cache.Part{Blob: o.blobs[next]})
		next++
	}
	return parts
}

// Close closes the blobs, and ends what is fetched ahead.
func (o *OpenArchive) Close() error {
	if o.Ahead != nil {
		o.Stop()
	}
	errs := make([]error, len(o.blobs))
	for i, blob := range o.blobs {
		errs[i] = blob.Close()
	}
	return errors.Join(errs...)
}
