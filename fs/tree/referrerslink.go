package tree

import (
	"context"
	"slices"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// hiddenReferrers is the directory of what refers to a digest, in the image
// directory of that below digests/. It is not listed.
const hiddenReferrers = ".referrers"

// referrersLink leads to it. It is a link so that a program which walks over image
// directories does not ask for the referrers of each.
type referrersLink struct {
	tree   *Tree
	path   string // of the directory that it is in
	digest registry.Digest
}

var _ Link = referrersLink{}

func (l referrersLink) Attr(context.Context) (Attr, error) {
	target := l.target()
	return Attr{
		Mode: linkMode, Size: int64(len(target)), ModTime: l.tree.started,
		Ino: linkIno(l.path+"/"+referrersName, target), Lifetime: Forever,
	}, nil
}

func (l referrersLink) Target(context.Context) (string, error) { return l.target(), nil }

// target goes up to the repository, whose own components are never called tags or
// digests in a path.
func (l referrersLink) target() string {
	parts := strings.Split(l.path, "/")
	below := slices.IndexFunc(parts, func(p string) bool { return p == tagsName || p == digestsName })
	return strings.Repeat("../", len(parts)-below) + digestsName + "/" + l.digest.String() + "/" + hiddenReferrers
}
