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

// rootDir is the directory of hosts. Looking a host up asks nobody.
type rootDir struct{ tree *Tree }

var _ Dir = rootDir{}

func (d rootDir) Attr(context.Context) (Attr, error) { return d.tree.dirAttr(""), nil }

func (d rootDir) Lookup(_ context.Context, name string) (Child, error) {
	if !registry.ValidHost(name) {
		return Child{}, iofs.ErrNotExist
	}
	if canonical := registry.CanonicalHost(name); canonical != name {
		return Child{Node: hostLink{d.tree, name, canonical}, Lifetime: Forever}, nil
	}
	if err := d.tree.opts.Client.Allowed(name); err != nil {
		return Child{}, err
	}
	return Child{Node: pathDir{tree: d.tree, host: name}, Lifetime: Forever}, nil
}

func (d rootDir) List(context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		hosts := map[string]bool{}
		for _, host := range d.tree.opts.Registries {
			hosts[registry.CanonicalHost(host)] = true
		}
		names, err := d.tree.opts.Store.Repositories()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, name := range names {
			host, _, _ := strings.Cut(name, "/")
			hosts[host] = true
		}
		for _, host := range slices.Sorted(maps.Keys(hosts)) {
			if d.tree.opts.Client.Allowed(host) == nil && !yield(dirEntry(host, host), nil) {
				return
			}
		}
	}
}

// hostLink is another name of a host, as a link to the one name that is used.
type hostLink struct {
	tree         *Tree
	name, target string
}

var _ Link = hostLink{}

func (l hostLink) Attr(context.Context) (Attr, error) {
	return Attr{
		Mode: linkMode, Size: int64(len(l.target)), ModTime: l.tree.started,
		Ino: pathIno(l.name), Lifetime: Forever,
	}, nil
}

func (l hostLink) Target(context.Context) (string, error) { return l.target, nil }
