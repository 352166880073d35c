package main

import (
	"context"
	"errors"
	"sync"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

const diffExamples = `ocidistfs diff docker.io/library/nginx:1.26-alpine docker.io/library/nginx:1.27-alpine
# Whether a copy in another registry is the same:
ocidistfs diff docker.io/library/alpine:3.10 reg.example.com/mirror/alpine:3.10 && echo same
# For programs: what an update downloads.
ocidistfs diff --json docker.io/library/nginx:1.26-alpine docker.io/library/nginx:1.27-alpine | jq .layers.newBytes
`

// The exit codes of diff are those of diff(1).
const (
	exitDifferent = 1
	exitTrouble   = 2
)

func addDiff(app *kingpin.Application) (string, command) {
	var v view
	var references [2]string
	var asJSON bool
	cmd := app.Command("diff", "Compare two images: manifests, platforms, configs, layers. No layer is fetched. The exit code is 0 where they are the same, 1 where they differ, 2 after a failure.").HelpLong(diffExamples)
	v.flags(cmd)
	cmd.Flag("json", "For programs: an object.").BoolVar(&asJSON)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&references[0])
	cmd.Arg("OTHER", "What it is compared with; the same form.").Required().StringVar(&references[1])
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var refs [2]registry.Reference
		for i, r := range references {
			var err error
			if refs[i], err = parseImage(r); err != nil {
				return err
			}
		}
		c, err := v.compare(ctx, s, refs)
		switch {
		case err != nil:
			return failure{exitTrouble, err}
		case asJSON:
			err = writeJSON(s.out, c)
		default:
			err = c.write(s.out)
		}
		if err == nil && !c.Same {
			err = failure{code: exitDifferent}
		}
		if err != nil && !closedEarly(err) && !errors.As(err, new(failure)) {
			err = failure{exitTrouble, err}
		}
		return err
	}
}

// compare fetches what two references are, and compares it.
func (v *view) compare(ctx context.Context, s streams, refs [2]registry.Reference) (*comparison, error) {
	o, err := v.open(ctx, s, refs[0].Host, refs[1].Host)
	if err != nil {
		return nil, err
	}
	defer o.close()
	var sides [2]side
	var errs [2]error
	var asked sync.WaitGroup
	for i, ref := range refs {
		asked.Go(func() { sides[i], errs[i] = o.side(ctx, ref) })
	}
	asked.Wait()
	for i, err := range errs {
		if err != nil {
			if repo, failed := o.client.Repository(refs[i].Name()); failed == nil {
				err = o.connection.advise(ctx, repo, refs[i], err)
			}
			return nil, err
		}
	}
	return o.comparison(ctx, sides)
}

// maxConfig bounds a config that is compared, in bytes, as manifests are.
const maxConfig = 8 << 20

// A side is what one reference is.
type side struct {
	ref   registry.Reference
	image *tree.Image
	// The referenced manifest, and that for the platform; the same where the first
	// is no index.
	referenced, resolved manifestDocument
	missing              error // why there is none for the platform
}

func (o *openView) side(ctx context.Context, ref registry.Reference) (side, error) {
	sd := side{ref: ref}
	var err error
	if sd.image, err = o.Image(ctx, ref); err != nil {
		return sd, err
	}
	if sd.referenced, err = documentOf(sd.image.Manifest()); err != nil {
		return sd, err
	}
	m, err := sd.image.Resolved(ctx)
	if errors.Is(err, tree.ErrNoPlatform) {
		sd.missing = err
		return sd, nil
	}
	if err == nil {
		sd.resolved, err = documentOf(m)
	}
	return sd, err
}

// config is the config of the image for the platform; nil where there is none.
func (sd side) config(ctx context.Context) ([]byte, error) {
	if sd.resolved.Config == nil {
		return nil, nil
	}
	d, err := sd.resolved.Config.descriptor()
	if err != nil {
		return nil, err
	}
	return sd.image.ReadBlob(ctx, d, maxConfig)
}
