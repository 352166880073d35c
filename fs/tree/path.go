package tree

import (
	"context"
	iofs "io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// Names that a directory of a host reserves for itself, and how a repository is
// spelled that has a component of that name.
const (
	tagsName       = "tags"
	digestsName    = "digests"
	escapedTags    = "t%61gs"
	escapedDigests = "d%69gests"
)

// component returns the repository component that a name spells, or "".
func component(name string) string {
	switch name {
	case escapedTags:
		return tagsName
	case escapedDigests:
		return digestsName
	case tagsName, digestsName:
		return ""
	}
	if !registry.ValidComponent(name) {
		return ""
	}
	return name
}

// spelling is how a repository component is written in the tree.
func spelling(component string) string {
	switch component {
	case tagsName:
		return escapedTags
	case digestsName:
		return escapedDigests
	}
	return component
}

// pathDir is a host, or a part of a repository's name below it. Every name that
// fits the grammar is one, whether the registry has it or not: nobody is asked.
type pathDir struct {
	tree *Tree
	host string
	path string // repository components, joined by "/", unescaped; "" at the host
}

var _ Dir = pathDir{}

// repository is the name of the repository that the directory stands for.
func (d pathDir) repository() string {
	if d.host == registry.DockerHub && !strings.Contains(d.path, "/") {
		return d.host + "/library/" + d.path
	}
	return d.host + "/" + d.path
}

// at is the directory's path in the tree, as it is spelled there.
func (d pathDir) at() string {
	if d.path == "" {
		return d.host
	}
	parts := strings.Split(d.path, "/")
	for i, p := range parts {
		parts[i] = spelling(p)
	}
	return d.host + "/" + strings.Join(parts, "/")
}

func (d pathDir) Attr(context.Context) (Attr, error) { return d.tree.dirAttr(d.at()), nil }

func (d pathDir) Lookup(_ context.Context, name string) (Child, error) {
	if name == tagsName || name == digestsName {
		if d.path == "" {
			return Child{}, iofs.ErrNotExist
		}
		repo, err := d.tree.repository(d.repository())
		if err != nil {
			return Child{}, err
		}
		if name == tagsName {
			return Child{Node: tagsDir{repo, d.at() + "/" + name}, Lifetime: Forever}, nil
		}
		return Child{Node: digestsDir{repo, d.at() + "/" + name}, Lifetime: Forever}, nil
	}
	child := pathDir{tree: d.tree, host: d.host, path: component(name)}
	if child.path == "" {
		return Child{}, iofs.ErrNotExist
	}
	if d.path != "" {
		child.path = d.path + "/" + child.path
	}
	if len(child.host)+len("/")+len(child.path) > registry.MaxName {
		return Child{}, iofs.ErrNotExist
	}
	return Child{Node: child, Lifetime: Forever}, nil
}

// List shows what is known: the components of repositories used before and of those
// that the registry's catalog has, and "tags" and "digests" where the directory
// itself is one of them. What was used appears at once.
func (d pathDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		known, err := d.tree.opts.Store.Repositories()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		shown := map[string]bool{}
		for _, repository := range known {
			for _, name := range d.namesFor(repository) {
				shown[name] = true
			}
		}
		entry := func(name string) bool { return yield(dirEntry(name, d.at()+"/"+name), nil) }
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			if !entry(name) {
				return
			}
		}
		for repository, err := range d.catalog(ctx) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, name := range d.namesFor(repository) {
				if shown[name] {
					continue
				}
				shown[name] = true
				if !entry(name) {
					return
				}
			}
		}
	}
}

// namesFor are the names that the directory has for the sake of a repository.
func (d pathDir) namesFor(repository string) []string {
	var names []string
	if d.path != "" && repository == d.repository() {
		names = append(names, digestsName, tagsName)
	}
	prefix := d.host + "/"
	if d.path != "" {
		prefix += d.path + "/"
	}
	if rest, ok := strings.CutPrefix(repository, prefix); ok {
		first, _, _ := strings.Cut(rest, "/")
		names = append(names, spelling(first))
	}
	return names
}

// catalog yields the repositories of the registry's catalog that the directory has
// names for, with the host.
func (d pathDir) catalog(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		paths := []string{d.path}
		if own := strings.TrimPrefix(d.repository(), d.host+"/"); d.path != "" && own != d.path {
			paths = append(paths, own) // on Docker Hub
		}
		for _, path := range paths {
			for name, err := range d.tree.catalog(ctx, d.host, path) {
				if err == nil {
					name = d.host + "/" + name
				}
				if !yield(name, err) {
					return
				}
			}
		}
	}
}
