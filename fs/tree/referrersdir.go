package tree

import (
	"context"
	iofs "io/fs"
	"iter"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

// referrersDir is the directory of what refers to a digest: a directory for each kind.
// To look into it costs the requests for the list of them.
type referrersDir struct {
	repo   *repository
	digest registry.Digest // what they refer to
	path   string
}

var _ Refresher = referrersDir{}

func (d referrersDir) Attr(context.Context) (Attr, error) { return d.repo.tree.dirAttr(d.path), nil }

func (d referrersDir) Lookup(ctx context.Context, name string) (Child, error) {
	if name != kindOf(name) {
		return Child{}, iofs.ErrNotExist
	}
	kind := referrerKindDir{d, name, d.path + "/" + name}
	found, until, err := kind.found(ctx)
	if err != nil {
		return Child{}, err
	}
	if len(found) == 0 {
		return Child{}, iofs.ErrNotExist
	}
	return Child{Node: kind, Lifetime: d.repo.tree.left(until)}, nil
}

func (d referrersDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		found, _, err := d.repo.referrers(ctx, d.digest)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		last := ""
		for _, one := range found { // in the order of their kinds
			if one.Kind == last {
				continue
			}
			last = one.Kind
			if !yield(dirEntry(last, d.path+"/"+last), nil) {
				return
			}
		}
	}
}

// Refresh makes the next look ask what refers to the digest.
func (d referrersDir) Refresh(context.Context) error {
	d.repo.refreshReferrers(d.digest)
	return nil
}

// refreshReferrers forgets what refers to a digest.
func (r *repository) refreshReferrers(d registry.Digest) {
	r.tree.refresh(scope{repository: r.name(), tag: registry.ReferrersTag(d)})
}

// referrerKindDir is the directory of what is of one kind among the referrers of a
// digest: an image directory for each, by a short form of its digest.
type referrerKindDir struct {
	of   referrersDir
	kind string
	path string
}

var _ Refresher = referrerKindDir{}

func (d referrerKindDir) Attr(context.Context) (Attr, error) {
	return d.of.repo.tree.dirAttr(d.path), nil
}

func (d referrerKindDir) Lookup(ctx context.Context, name string) (Child, error) {
	found, until, err := d.found(ctx)
	if err != nil {
		return Child{}, err
	}
	for i, short := range shortNames(found) {
		if short == name {
			image := newImageDir(byDigest{repo: d.of.repo, digest: found[i]}, d.path+"/"+name, imageView{})
			return Child{Node: image, Lifetime: d.of.repo.tree.left(until)}, nil
		}
	}
	return Child{}, iofs.ErrNotExist
}

func (d referrerKindDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		found, _, err := d.found(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, name := range shortNames(found) {
			if !yield(dirEntry(name, d.path+"/"+name), nil) {
				return
			}
		}
	}
}

// Refresh is that of the directory above, from which it follows.
func (d referrerKindDir) Refresh(ctx context.Context) error { return d.of.Refresh(ctx) }

// found returns the digests of those of the kind, and until when they are.
func (d referrerKindDir) found(ctx context.Context) (some []registry.Digest, until time.Time, err error) {
	all, until, err := d.of.repo.referrers(ctx, d.of.digest)
	for _, one := range all {
		if one.Kind == d.kind {
			some = append(some, one.Digest)
		}
	}
	return some, until, err
}
