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

var _ Refresher = digestsDir{}

func (d digestsDir) Attr(context.Context) (Attr, error) { return d.repo.tree.dirAttr(d.path), nil }

func (d digestsDir) Lookup(ctx context.Context, name string) (Child, error) {
	child, err := d.repo.lookupDigest(ctx, name, "", d.path+"/"+name)
	if image, ok := child.Node.(imageDir); ok {
		image.view = digestView{}
		child.Node = digestDir{image}
	}
	return child, err
}

// Refresh forgets what refers to the digests, as what tags of the repository mean.
func (d digestsDir) Refresh(ctx context.Context) error { return tagsDir(d).Refresh(ctx) }

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
	return Child{Node: newImageDir(byDigest{repo: r, tag: tag, digest: parsed, first: m.FirstSeen}, path, imageView{}), Lifetime: Forever}, nil
}

// digestDir is the image directory of a digest in digests/, where all others lead to for
// what refers to it: that alone is good for a while only.
type digestDir struct{ imageDir }

var (
	_ Versioned = digestDir{}
	_ Refresher = digestDir{}
	_ Described = digestDir{}
)

// Refresh makes the next look ask what refers to the digest.
func (d digestDir) Refresh(ctx context.Context) error {
	i, _, err := d.of.image(ctx)
	if err != nil {
		return err
	}
	i.repo.refreshReferrers(i.manifest.Digest)
	return nil
}

// digestView is an image directory with what refers to it and what is in the image, which
// is not listed.
type digestView struct{ imageView }

var _ view = digestView{}

func (v digestView) may(name string) bool {
	return name == hiddenReferrers || name == hiddenRootfs || v.imageView.may(name)
}

func (v digestView) node(ctx context.Context, d imageDir, i *Image, name string) (Node, error) {
	switch name {
	case hiddenReferrers:
		return referrersDir{i.repo, i.manifest.Digest, d.path + "/" + name}, nil
	case hiddenRootfs:
		return i.repo.rootfsOf(i.manifest)
	}
	return v.imageView.node(ctx, d, i, name)
}
