package tree

import (
	"context"
	iofs "io/fs"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// attestationsView is attestations/: what an index attests of one of its images, as
// image directories by the first digits of their digests.
type attestationsView struct{}

var _ view = attestationsView{}

func (attestationsView) may(name string) bool {
	return len(name) >= shortDigest && strings.Trim(name, "0123456789abcdef") == ""
}

func (attestationsView) names(ctx context.Context, _ imageDir, i *Image) ([]string, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	return shortNames(i.attestations(resolved.Digest)), nil
}

func (attestationsView) node(ctx context.Context, d imageDir, i *Image, name string) (Node, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	there := i.attestations(resolved.Digest)
	for n, short := range shortNames(there) {
		if short == name {
			// It attests and is not attested itself, or there were no end.
			return newImageDir(byDigest{repo: i.repo, digest: there[n], depth: maxDepth + 1}, d.path+"/"+name, imageView{}), nil
		}
	}
	return nil, iofs.ErrNotExist
}

// hasAttestations says whether a directory of the image has attestations/, of d.
func (i *Image) hasAttestations(in imageDir, d registry.Digest) bool {
	return depth(in.of) <= maxDepth && len(i.attestations(d)) > 0
}

// attestations are the digests of the manifests that attest the image d, where the
// index is known that it was found in.
func (i *Image) attestations(d registry.Digest) []registry.Digest {
	in := i.in()
	if !isIndex(mediaType(in)) {
		return nil
	}
	x, err := i.repo.index(in)
	if err != nil {
		return nil
	}
	var there []registry.Digest
	for _, e := range x.entries {
		if e.attested() != d.String() {
			continue
		}
		if found, err := e.descriptor(); err == nil {
			there = append(there, found.Digest)
		}
	}
	return there
}

// shortNames are names for different digests: the first digits, or all of them where
// several begin alike, so that no name ever means another digest.
func shortNames(digests []registry.Digest) []string {
	alike := map[string]int{}
	for _, d := range digests {
		alike[d.Hex[:shortDigest]]++
	}
	names := make([]string, len(digests))
	for n, d := range digests {
		if names[n] = d.Hex[:shortDigest]; alike[names[n]] > 1 {
			names[n] = d.Hex
		}
	}
	return names
}
