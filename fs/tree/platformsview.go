package tree

import (
	"context"
	iofs "io/fs"
	"strings"
	"time"
)

// platformsView is platforms/: each image of an index, as an image directory. Which
// there are the index says: nothing is fetched to list them.
type platformsView struct{}

var _ view = platformsView{}

// maxDepth bounds how many indexes deep platforms/ is shown: with a few that each
// name the next one several times, a walk would have no end.
const maxDepth = 2

func (platformsView) may(name string) bool { return strings.Contains(name, "-") && isSafeName(name) }

func (platformsView) names(_ context.Context, d imageDir, i *Image) ([]string, error) {
	x, err := i.index()
	if err != nil {
		return nil, err
	}
	var names []string
	for n, name := range x.names {
		if name != "" && !d.tooDeep(x.entries[n]) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (platformsView) node(_ context.Context, d imageDir, i *Image, name string) (Node, error) {
	x, err := i.index()
	if err != nil {
		return nil, err
	}
	if e, err := x.named(name); err == nil {
		if d.tooDeep(e) {
			return nil, iofs.ErrNotExist
		}
		return newImageDir(byPlatform{d.of, name}, d.path+"/"+name, imageView{}), nil
	}
	p, err := ParsePlatform(strings.ReplaceAll(name, "-", "/"))
	if err != nil {
		return nil, iofs.ErrNotExist
	}
	best, _ := p.choose(x)
	if best < 0 || x.names[best] == "" {
		return nil, iofs.ErrNotExist
	}
	return platformLink{d.path + "/" + name, x.names[best], i.manifest.FirstSeen}, nil
}

// tooDeep says whether an entry is an index that is not shown in d.
func (d imageDir) tooDeep(e indexEntry) bool { return isIndex(e.MediaType) && depth(d.of) >= maxDepth }

// platformLink is a platform that no image is called after, as a link to the one that
// is for it.
type platformLink struct {
	path, target string
	seen         time.Time
}

var _ Link = platformLink{}

func (l platformLink) Attr(context.Context) (Attr, error) {
	return Attr{Mode: linkMode, Size: int64(len(l.target)), ModTime: l.seen, Ino: linkIno(l.path, l.target), Lifetime: Forever}, nil
}

func (l platformLink) Target(context.Context) (string, error) { return l.target, nil }
