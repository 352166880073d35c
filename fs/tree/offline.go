package tree

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrOffline is what is not in the cache of a tree that makes no requests. Whether
// it exists is not known: it is no io/fs.ErrNotExist.
var ErrOffline = errors.New("offline: no request is made, and the cache does not have it")

// lastKnown is what a tag meant when it was resolved last, whatever its age, for
// those who make no request; another process may learn more in the meantime.
func (r *repository) lastKnown(tag string) (resolution, bool) {
	record, ok := r.record(tag)
	if !ok {
		return resolution{}, false
	}
	m, ok := r.kept(record.Digest)
	return resolution{manifest: m, until: r.tree.now().Add(r.tree.opts.TagTTL)}, ok
}

// keptNames yields the tags that the store knows, for those who make no request.
// Where it knows none, that says nothing of the registry.
func (r *repository) keptNames(ctx context.Context, yield func(string, error) bool) {
	tags, err := r.local.Tags()
	if err == nil && len(tags) == 0 {
		err = ErrOffline
		if !r.tree.opts.Offline {
			err = ErrCrawler
		}
		err = fmt.Errorf("list tags of %s: %w", r.name(), err)
	}
	if err != nil {
		yield("", err)
		return
	}
	for _, tag := range tags {
		if ctx.Err() != nil {
			yield("", context.Cause(ctx))
			return
		}
		if !yield(tag, nil) {
			return
		}
	}
}

// noBlob is where the blobs of a tree come from that makes no requests.
type noBlob struct{ repository string }

func (f noBlob) BlobRange(_ context.Context, d v1.Hash, _, _ int64) (io.ReadCloser, int64, error) {
	return nil, 0, fmt.Errorf("get blob %s@%s: %w", f.repository, d, ErrOffline)
}
