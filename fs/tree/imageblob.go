package tree

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrTooLong is a blob that is longer than whoever wants to have it in memory takes.
var ErrTooLong = errors.New("it is too long")

// ReadBlob returns all bytes of a blob of the image, such as its config, through the
// cache, and verified. The error is [ErrTooLong] where it is longer than limit, in
// bytes; then nothing is fetched.
func (i *Image) ReadBlob(ctx context.Context, d v1.Descriptor, limit int64) (b []byte, err error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %s@%s: %w: %d bytes of %d", i.repo.name(), d.Digest, ErrTooLong, d.Size, limit)
	}
	open, err := i.repo.local.Blob(d.Digest, d.Size, i.repo.fetcher(d)).Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s@%s: %w", i.repo.name(), d.Digest, err)
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	b = make([]byte, d.Size)
	// The one who completes a blob gets its last bytes when it has its digest.
	if n, err := open.ReadAt(ctx, b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s@%s: %w", i.repo.name(), d.Digest, err)
	}
	return b, nil
}
