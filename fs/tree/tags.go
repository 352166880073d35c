package tree

import (
	"context"
	iofs "io/fs"
	"iter"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// tagsDir is the "tags" directory of a repository.
type tagsDir struct {
	repo *repository
	path string
}

var _ Dir = tagsDir{}

func (d tagsDir) Attr(context.Context) (Attr, error) { return d.repo.tree.dirAttr(d.path), nil }

// Lookup finds an image by tag, or by "tag@digest". It never lists; a tag that
// a fresh list has is there without a request.
func (d tagsDir) Lookup(ctx context.Context, name string) (Child, error) {
	path := d.path + "/" + name
	tag, digest, byDigest := strings.Cut(name, "@")
	if !registry.ValidTag(tag) {
		return Child{}, iofs.ErrNotExist
	}
	if byDigest {
		return d.repo.lookupDigest(ctx, digest, tag, path)
	}
	child := newImageDir(byTag{d.repo, tag}, path, imageView{})
	if until, ok := d.repo.listed(tag); ok {
		return Child{Node: child, Lifetime: d.repo.tree.left(until)}, nil
	}
	answer, err := d.repo.resolve(ctx, tag)
	if err != nil {
		return Child{}, err
	}
	return Child{Node: child, Lifetime: d.repo.tree.left(answer.until)}, nil
}

func (d tagsDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for tag, err := range d.repo.tagNames(ctx) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if IsReferrersTag(tag) && !d.repo.tree.opts.AllTags {
				continue
			}
			if !yield(dirEntry(tag, d.path+"/"+tag), nil) {
				return
			}
		}
	}
}
