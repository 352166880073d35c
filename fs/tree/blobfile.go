package tree

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry"
)

// blobFile is one blob of an image: its config, or a layer as it is stored.
type blobFile struct {
	contentFile
	repo     *repository
	manifest registry.Digest // that refers to it
	blob     v1.Descriptor
}

var _ File = blobFile{}

// blobFile returns the file of a blob that a manifest refers to. name is its path in
// the image directory; each has a number of its own, since what the manifest
// says of the blob goes with it.
func (r *repository) blobFile(m cache.Manifest, name string, d v1.Descriptor) blobFile {
	return blobFile{contentFile{contentIno(r.name(), m.Digest.String(), name, d.Digest.Hex), m.FirstSeen}, r, m.Digest, d}
}

func (f blobFile) Attr(context.Context) (Attr, error) { return f.attr(f.blob.Size), nil }

func (f blobFile) Open(ctx context.Context) (OpenFile, error) {
	open, err := f.repo.openBlob(ctx, f.blob)
	if err != nil {
		return nil, err
	}
	return f.repo.guarded(ctx, open, f.blob.Digest)
}

// openBlob opens one blob for whoever reads it in order, or not.
func (r *repository) openBlob(ctx context.Context, d v1.Descriptor) (*openBlob, error) {
	blob, err := r.local.Blob(d.Digest, d.Size, r.fetcher(d)).Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s@%s: %w", r.name(), d.Digest, err)
	}
	return &openBlob{readat.ReadAhead(blob, r.tree.ahead), r.tree.opts.Store, d.Digest, blob}, nil
}

// An openBlob is an open blob. It is safe for concurrent use.
type openBlob struct {
	*readat.Ahead
	store  *cache.Store
	digest registry.Digest
	blob   *cache.Reader
}

var _ Backed = (*openBlob)(nil)

// Verified says that the blob is whole, and was checked.
func (o *openBlob) Verified() bool { return o.blob.Verified() }

// Intact says that the blob is so on disk that [openBlob.Backing] may give it away.
func (o *openBlob) Intact() bool { return o.store.Clones() && o.blob.Intact() }

// Backing is a file that shares its blocks with the cache's, so that nothing that
// happens to that is seen in it.
func (o *openBlob) Backing(ctx context.Context) (BackingFile, error) {
	f, err := o.store.Assembled(ctx, o.digest.String(), o.Parts())
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Parts is what [cache.Assemble] makes the same of in another file.
func (o *openBlob) Parts() []cache.Part { return []cache.Part{{Blob: o.blob}} }

// Close closes the blob, and ends what is fetched ahead.
func (o *openBlob) Close() error {
	o.Stop()
	return o.blob.Close()
}

// guarded returns an open file unless it is for a program that must cause no
// request, and needs one.
func (r *repository) guarded(ctx context.Context, open OpenFile, d registry.Digest) (OpenFile, error) {
	if !open.Verified() && r.tree.pacer.shuts(ctx) {
		return nil, errors.Join(fmt.Errorf("open %s@%s: %w", r.name(), d, ErrCrawler), open.Close())
	}
	return open, nil
}

// readBlob returns all bytes of a small blob, verified.
func (r *repository) readBlob(ctx context.Context, d v1.Descriptor) (b []byte, err error) {
	blob, err := r.openBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	open, err := r.guarded(ctx, blob, d.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	b = make([]byte, d.Size)
	// The one who completes a blob gets its last bytes when it has its digest.
	if n, err := open.ReadAt(ctx, b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s@%s: %w", r.name(), d.Digest, err)
	}
	return b, nil
}

// ErrTooLong is a blob that is longer than whoever wants to have it in memory takes.
var ErrTooLong = errors.New("it is too long")

// ReadBlob returns all bytes of a blob of the image, such as its config, through the
// cache, and verified. The error is [ErrTooLong] where it is longer than limit, in
// bytes; then nothing is fetched.
func (i *Image) ReadBlob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %s@%s: %w: %d bytes of %d", i.repo.name(), d.Digest, ErrTooLong, d.Size, limit)
	}
	return i.repo.readBlob(ctx, d)
}
