package tree

import (
	"context"
	iofs "io/fs"
	"iter"
	"time"

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
	return Child{Node: digestDir{r, tag, parsed, m.FirstSeen, path}, Lifetime: Forever}, nil
}

// digestDir is the image directory of a digest: what is in it never changes. It
// does not hold the manifest, since a kernel may hold on to any number of
// directories.
type digestDir struct {
	repo   *repository
	tag    string // names the image; "" where nothing does
	digest registry.Digest
	seen   time.Time
	path   string
}

var _ Versioned = digestDir{}

func (d digestDir) Attr(context.Context) (Attr, error) {
	attr := d.repo.tree.dirAttr(d.path)
	attr.ModTime = d.seen
	return attr, nil
}

func (d digestDir) Version() (string, bool) { return d.digest.String(), true }

func (d digestDir) image(ctx context.Context) (*Image, error) {
	m, err := d.repo.manifest(ctx, d.digest)
	if err != nil {
		return nil, err
	}
	return &Image{repo: d.repo, tag: d.tag, manifest: m}, nil
}

func (d digestDir) Lookup(ctx context.Context, name string) (Child, error) {
	if !isImageFile(name) {
		return Child{}, iofs.ErrNotExist
	}
	i, err := d.image(ctx)
	if err != nil {
		return Child{}, err
	}
	node, err := i.file(ctx, name)
	if err != nil {
		return Child{}, err
	}
	return Child{Node: node, Lifetime: Forever}, nil
}

func (d digestDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		i, err := d.image(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		i.list(ctx, d.path, yield)
	}
}
