package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A tarballCheck is one run of the command verify.
type tarballCheck struct {
	connection
	file     string
	ref      registry.Reference
	platform tree.Platform
	asJSON   bool
}

const verifyExamples = `ocidistfs verify alpine.tar docker.io/library/alpine:3.10
# What docker has, against what the registry has now:
docker save alpine:3.10 | ocidistfs verify - docker.io/library/alpine:3.10
# For scripts: the first thing that is not as it should be.
ocidistfs verify --json alpine.tar docker.io/library/alpine:3.10 | jq -r .difference
`

func addVerify(app *kingpin.Application) (string, command) {
	var v tarballCheck
	var reference, platform string
	cmd := app.Command("verify", "Compare the image in a tarball with the registry's, without downloading it.").HelpLong(verifyExamples)
	v.flags(cmd)
	cmd.Flag("json", "For programs: one object.").BoolVar(&v.asJSON)
	platformFlag(cmd, &platform)
	cmd.Arg("FILE", "The tarball, of any program that writes tarballs of images; - is standard input.").Required().StringVar(&v.file)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var err error
		if v.ref, err = parseImage(reference); err != nil {
			return err
		}
		switch v.file {
		case dash:
			v.file = "-"
		case "":
			return usagef("FILE is empty; - is standard input")
		}
		if v.file == "-" && v.passwordStdin {
			return usagef("the password and the tarball cannot both come from standard input")
		}
		if v.platform, err = parsePlatform(platform); err != nil {
			return err
		}
		return v.run(ctx, s)
	}
}

func (v *tarballCheck) run(ctx context.Context, s streams) error {
	file, end, err := v.open(s.in)
	if err != nil {
		return err
	}
	defer end()
	wanted, err := v.wanted(ctx, s)
	if err != nil {
		return err
	}
	contents, err := imagetar.ReadContents(ctx, file)
	if err != nil {
		return fmt.Errorf("verify %s: %w", v.called(), err)
	}
	found, err := contents.Compare(wanted)
	if err != nil {
		return fmt.Errorf("verify %s: %w", v.called(), err)
	}
	difference := found.Difference()
	if v.asJSON {
		err = writeJSON(s.out, verdict{v.file, v.ref.String(), difference == "", difference, found})
	} else {
		err = writeComparison(s.out, found)
	}
	if err == nil && difference != "" {
		err = v.another(found, wanted.Index, fmt.Errorf("%s is not %s: %s", v.called(), v.ref, difference))
	}
	return err
}

// another adds to an error what image it is in place of the one that was meant, where
// the registry's index says that.
func (v *tarballCheck) another(found *imagetar.Comparison, index []byte, err error) error {
	for _, p := range found.Parts {
		if p.Part != "manifest" || p.State != imagetar.Differs {
			continue
		}
		// Anybody may have chosen it.
		if platform, parseErr := tree.ParsePlatform(imagetar.PlatformOf(index, p.Found)); parseErr == nil {
			return advised{err, fmt.Sprintf("it is the image for %s: --platform %s compares with that", platform, platform)}
		}
	}
	return err
}

// called is the tarball in an error.
func (v *tarballCheck) called() string {
	if v.file == "-" {
		return "standard input"
	}
	return v.file
}

// open opens the tarball, which end closes.
func (v *tarballCheck) open(in io.Reader) (file io.Reader, end func(), err error) {
	if v.file == "-" {
		return in, func() {}, nil
	}
	f, err := os.Open(v.file)
	if err != nil {
		return nil, nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		_ = f.Close() // nothing was written
		return nil, nil, usagef("%s: it is a directory; name a tarball", v.file)
	}
	return f, func() { _ = f.Close() }, nil // nothing was written
}

// wanted is what the registry says of the image: its manifests.
func (v *tarballCheck) wanted(ctx context.Context, s streams) (imagetar.Wanted, error) {
	repo, _, end, err := v.repository(ctx, v.ref, s)
	if err != nil {
		return imagetar.Wanted{}, err
	}
	defer end()
	referenced, err := fetched(ctx, repo, identifier(v.ref))
	var resolved cache.Manifest
	if err == nil {
		resolved, err = resolvedOf(ctx, repo, referenced, v.platform)
	}
	if err != nil {
		return imagetar.Wanted{}, v.advise(ctx, repo, v.ref, err)
	}
	wanted := imagetar.Wanted{
		Image:  imagetar.Image{Manifest: resolved.Bytes, MediaType: types.MediaType(resolved.MediaType)},
		Select: func(index []byte) (v1.Descriptor, error) { return v.platform.Select(index) },
	}
	if v.ref.Tag != "" {
		wanted.Name = imagetar.Name{Repository: v.ref.Name(), Tag: v.ref.Tag}
	}
	if resolved.Digest != referenced.Digest {
		wanted.Index = referenced.Bytes
	}
	return wanted, nil
}

// A verdict is what --json writes.
type verdict struct {
	File       string `json:"file"`
	Reference  string `json:"reference"`
	Same       bool   `json:"same"`
	Difference string `json:"difference,omitempty"` // the first
	*imagetar.Comparison
}

// writeComparison writes a line for each part, and for what else there is to tell.
func writeComparison(w io.Writer, c *imagetar.Comparison) error {
	var out bytes.Buffer
	for _, p := range c.Parts {
		digest := p.Digest
		if p.State == imagetar.Superfluous {
			digest = p.Found
		}
		fmt.Fprintf(&out, "%-9s %s  %s", p.Part, digest, p.State)
		if p.State == imagetar.Differs {
			fmt.Fprintf(&out, ": %s", p.Found)
		}
		out.WriteByte('\n')
	}
	for _, name := range c.Extra {
		fmt.Fprintf(&out, "%-9s %s  nothing refers to it\n", "extra", shown(name))
	}
	for _, p := range c.Problems {
		fmt.Fprintf(&out, "%-9s %s  %s\n", "problem", shown(p.Member), p.Reason)
	}
	if c.Unsaid > 0 {
		fmt.Fprintf(&out, "%-9s and %d more\n", "problem", c.Unsaid)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// shown is a member's name as a terminal may have it: anybody may have chosen it.
func shown(name string) string {
	quoted := fmt.Sprintf("%.200q", name)
	if strings.ContainsRune(quoted, '\\') || strings.ContainsAny(name, " ") {
		return quoted
	}
	return quoted[1 : len(quoted)-1]
}
