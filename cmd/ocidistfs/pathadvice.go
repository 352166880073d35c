package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// advise adds to an error of a path what is known of the way out. It may ask the registry
// for tags.
func (o *openView) advise(ctx context.Context, err error) error {
	var found *tree.FindError
	var listed listError
	var answered *registry.Error
	switch {
	case errors.As(err, &found) && errors.As(err, &answered):
		repo, tag := o.image(found.Dir, found.Name)
		if repo == nil {
			return err
		}
		ref := registry.Reference{Tag: tag}
		if tag == "" { // by digest
			ref.Digest, _ = registry.ParseDigest(found.Name)
		}
		return o.connection.advise(ctx, repo, ref, err)
	case errors.As(err, &listed) && errors.As(err, &answered):
		if repo, _ := o.image(listed.path, ""); repo != nil {
			return o.connection.advise(ctx, repo, registry.Reference{}, err)
		}
	case errors.As(err, &found) && errors.Is(err, iofs.ErrNotExist):
		if way := o.wayTo(ctx, found); way != "" {
			return advised{err, way}
		}
	}
	return err
}

// image is the repository that a directory of images is in, and the tag that a name in it
// begins with; nil where the directory is none.
func (o *openView) image(dir, name string) (*registry.Repository, string) {
	repository, ok := strings.CutSuffix(dir, "/tags")
	tag, _, _ := strings.Cut(name, "@")
	if !ok {
		repository, ok = strings.CutSuffix(dir, "/digests")
		tag = ""
	}
	if !ok {
		return nil, ""
	}
	parts := strings.Split(repository, "/")
	for i, part := range parts {
		// A component that is called as these directories are is spelled so.
		switch part {
		case "t%61gs":
			parts[i] = "tags"
		case "d%69gests":
			parts[i] = "digests"
		}
	}
	repo, err := o.client.Repository(strings.Join(parts, "/"))
	if err != nil {
		return nil, ""
	}
	return repo, tag
}

// wayTo says what may have been meant by a name that cannot exist.
func (o *openView) wayTo(ctx context.Context, e *tree.FindError) string {
	if e.Dir == "" {
		return "a path begins with a registry's host, as in docker.io/library/alpine/tags"
	}
	if ref, err := registry.ParseReference(e.Dir + "/" + e.Name); err == nil && strings.ContainsAny(e.Name, ":@") {
		return "as a path, that is " + pathOf(ref)
	}
	if repo, _ := o.image(e.Dir, ""); repo != nil || !strings.Contains(e.Dir, "/") {
		return ""
	}
	place, err := o.Find(ctx, e.Dir)
	dir, ok := place.Node.(tree.Dir)
	if err != nil || !ok {
		return ""
	}
	var names []string
	for one, err := range dir.List(ctx) {
		if err != nil || len(names) == maxNearNames {
			break
		}
		names = append(names, one.Name)
	}
	list := "ocidistfs ls " + e.Dir
	switch near := nearest(e.Name, names); {
	case len(near) > 0:
		return fmt.Sprintf("near ones: %s; all of them: %s", strings.Join(near, ", "), list)
	case len(names) > 0:
		return "what there is, says " + list
	}
	return ""
}

// maxNearNames bounds what is looked through for what was meant.
const maxNearNames = 10_000

// pathOf is where the image of a reference is in the tree.
func pathOf(ref registry.Reference) string {
	parts := strings.Split(ref.Repository, "/")
	for i, part := range parts {
		switch part {
		case "tags":
			parts[i] = "t%61gs"
		case "digests":
			parts[i] = "d%69gests"
		}
	}
	dir := ref.Host + "/" + strings.Join(parts, "/")
	switch {
	case ref.Tag == "":
		return dir + "/digests/" + ref.Digest.String()
	case ref.Digest == (registry.Digest{}):
		return dir + "/tags/" + ref.Tag
	}
	return dir + "/tags/" + ref.Tag + "@" + ref.Digest.String()
}
