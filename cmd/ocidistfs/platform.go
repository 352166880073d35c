package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

func platformFlag(cmd *kingpin.CmdClause, platform *string) {
	cmd.Flag("platform", "Choose the image of an index for os/arch[/variant]; by default for this machine.").PlaceHolder("OS/ARCH").StringVar(platform)
}

// parsePlatform takes the flag; "" is this machine's.
func parsePlatform(s string) (tree.Platform, error) {
	if s == "" {
		return tree.Platform{}, nil
	}
	p, err := tree.ParsePlatform(s)
	if err != nil {
		return p, usageError{err}
	}
	return p, nil
}

// forPlatform returns the manifest that an index has for the platform, and any
// other as it is.
func forPlatform(ctx context.Context, repo *registry.Repository, m *registry.RawManifest, p tree.Platform) (*registry.RawManifest, error) {
	if !isIndex(m.Descriptor.MediaType) {
		return m, nil
	}
	d, err := p.Select(m.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repo.Name(), m.Descriptor.Digest, err)
	}
	return repo.Manifest(ctx, d.Digest.String())
}

func isIndex(t types.MediaType) bool {
	return t == types.OCIImageIndex || t == types.DockerManifestList
}
