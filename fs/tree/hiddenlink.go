package tree

import (
	"context"
	"slices"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// The directories of an image directory below digests/ that are not listed: of what refers
// to the digest, and of what is in the image.
const (
	hiddenReferrers = ".referrers"
	hiddenRootfs    = ".rootfs"
)

// A hiddenLink leads to one of them. It is a link so that a program which walks over
// image directories neither asks for the referrers of each nor reads all its layers.
type hiddenLink struct {
	tree   *Tree
	path   string          // of the link
	digest registry.Digest // of the directory below digests/
	hidden string          // the name in there
}

var _ Link = hiddenLink{}

func (l hiddenLink) Attr(context.Context) (Attr, error) {
	target := l.target()
	return Attr{
		Mode: linkMode, Size: int64(len(target)), ModTime: l.tree.started,
		Ino: linkIno(l.path, target), Lifetime: Forever,
	}, nil
}

func (l hiddenLink) Target(context.Context) (string, error) { return l.target(), nil }

// target goes up to the repository, whose own components are never called tags or
// digests in a path.
func (l hiddenLink) target() string {
	parts := strings.Split(l.path, "/")
	below := slices.IndexFunc(parts, func(p string) bool { return p == tagsName || p == digestsName })
	return strings.Repeat("../", len(parts)-1-below) + digestsName + "/" + l.digest.String() + "/" + l.hidden
}
