package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

func addManifest(app *kingpin.Application) (string, command) {
	var c connection
	var reference, platform string
	var raw, resolve bool
	cmd := app.Command("manifest", "Show the manifest of an image.\n\nExample: ocidistfs manifest docker.io/library/alpine:3.10")
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
		repo, _, end, err := c.repository(ref, s)
		if err != nil {
			return err
		}
		defer end()
		m, err := repo.Manifest(ctx, identifier(ref))
		if err != nil {
			return err
		}
		fmt.Fprintln(s.err, c.api())
		fmt.Fprintln(s.err, "referenced manifest", m.Descriptor.Digest.Hex)
		if resolve {
			if m, err = forPlatform(ctx, repo, m, p); err != nil {
				return err
			}
			fmt.Fprintln(s.err, "resolved manifest", m.Descriptor.Digest.Hex)
		}
		if raw {
			_, err = s.out.Write(m.Bytes)
			return err
		}
		return writeIndented(s.out, m.Bytes)
	}
}

const referenceForm = "<host>[:<port>]/path[:tag][@sha256:hash]"

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

// parseImage takes a reference that has a tag, a digest or both.
func parseImage(s string) (registry.Reference, error) {
	ref, err := registry.ParseReference(s)
	if err != nil {
		return ref, usageError{err}
	}
	if ref.Tag == "" && ref.Digest == (registry.Digest{}) {
		return ref, usagef("reference %q: it needs a tag or a digest, as in %s:latest", s, ref.Name())
	}
	return ref, nil
}

// identifier is what decides: the digest where there is one.
func identifier(ref registry.Reference) string {
	if ref.Digest != (registry.Digest{}) {
		return ref.Digest.String()
	}
	return ref.Tag
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
