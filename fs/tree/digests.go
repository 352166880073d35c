package tree

import (
	"context"
	iofs "io/fs"
	"iter"

	"github.com/ocidistfs/ocidistfs/registry"
)

// digestsDir is the "digests" directory of a repository. It lists the manifests
// that the cache has of it; any other can be looked up.
type digestsDir struct {
	repo *repository
	path string
}

var _ Dir = digestsDir{}

func (d digestsDir) Attr(context.Context) (Attr, error) { return d.repo.tree.dirAttr(d.path), nil }

func (d digestsDir) Lookup(ctx context.Context, name string) (Child, error) {
	return d.repo.lookupDigest(ctx, name, "", d.path+"/"+name)
}

func (d digestsDir) List(context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		digests, err := d.repo.local.Digests()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, digest := range digests {
			name := digest.String()
			if !yield(dirEntry(name, d.path+"/"+name), nil) {
				return
			}
		}
	}
}

// lookupDigest returns the image directory of a digest, which tag names.
func (r *repository) lookupDigest(ctx context.Context, digest, tag, path string) (Child, error) {
	parsed, err := registry.ParseDigest(digest)
	if err != nil {
		return Child{}, iofs.ErrNotExist
	}
	m, err := r.manifest(ctx, parsed)
	if err != nil {
		return Child{}, err
	}
	return Child{Node: newImageDir(byDigest{r, tag, parsed, m.FirstSeen}, path, imageView{}), Lifetime: Forever}, nil
}
