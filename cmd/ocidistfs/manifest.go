package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

const manifestExamples = `ocidistfs manifest docker.io/library/alpine:3.10
# The exact bytes: their checksum is the digest.
ocidistfs manifest --raw docker.io/library/alpine:3.10 | sha256sum
# Of an index, the manifest of the image for a platform:
ocidistfs manifest --resolve --platform linux/arm64 docker.io/library/alpine:3.10
`

func addManifest(app *kingpin.Application) (string, command) {
	var c connection
	var reference, platform string
	var raw, resolve bool
	cmd := app.Command("manifest", "Show the manifest of an image.").HelpLong(manifestExamples)
	c.flags(cmd)
	cmd.Flag("raw", "The exact bytes that the registry serves.").BoolVar(&raw)
	cmd.Flag("resolve", "Of an index, the manifest for the platform.").BoolVar(&resolve)
	platformFlag(cmd, &platform)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		ref, err := parseImage(reference)
		if err != nil {
			return err
		}
		p, err := parsePlatform(platform)
		if err != nil {
			return err
		}
		repo, _, end, err := c.repository(ctx, ref, s)
		if err != nil {
			return err
		}
		defer end()
		m, err := fetched(ctx, repo, identifier(ref))
		if err != nil {
			return c.advise(ctx, repo, ref, err)
		}
		fmt.Fprintln(s.err, c.api())
		fmt.Fprintln(s.err, "referenced manifest", m.Digest.Hex)
		if resolve {
			if m, err = resolvedOf(ctx, repo, m, p); err != nil {
				return c.advise(ctx, repo, ref, err)
			}
			fmt.Fprintln(s.err, "resolved manifest", m.Digest.Hex)
		}
		if raw {
			_, err = s.out.Write(m.Bytes)
			return err
		}
		return writeIndented(s.out, m.Bytes)
	}
}

// fetched is a manifest of a repository, from there.
func fetched(ctx context.Context, repo *registry.Repository, ref string) (cache.Manifest, error) {
	raw, err := repo.Manifest(ctx, ref)
	if err != nil {
		return cache.Manifest{}, err
	}
	return tree.ManifestOf(raw), nil
}

// resolvedOf is the manifest that m stands for on the platform, from there too.
func resolvedOf(ctx context.Context, repo *registry.Repository, m cache.Manifest, p tree.Platform) (cache.Manifest, error) {
	return p.Resolve(ctx, repo.Name(), m, func(ctx context.Context, d registry.Digest) (cache.Manifest, error) {
		return fetched(ctx, repo, d.String())
	})
}

// writeIndented writes JSON with tabs, its keys and escapes as they are. What is
// no JSON is written as it is too.
func writeIndented(w io.Writer, b []byte) error {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "\t") != nil {
		out.Reset()
		out.Write(b)
	}
	_, err := fmt.Fprintln(w, string(bytes.TrimRight(out.Bytes(), "\n")))
	return err
}
