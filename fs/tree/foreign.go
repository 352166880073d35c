package tree

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// BlobFetcher is where the bytes of a blob of a repository come from: from there, and
// for a foreign layer also from the addresses that its descriptor names.
func BlobFetcher(client *registry.Client, repo *registry.Repository, d v1.Descriptor) cache.Fetcher {
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

// Dispute tells the repository, which may have it from a mirror.
func (f foreignLayer) Dispute(d v1.Hash) { f.repository.Dispute(d) }

var _ cache.Disputer = foreignLayer{}

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
