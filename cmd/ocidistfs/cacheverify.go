package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

const cacheVerifyExamples = `ocidistfs cache verify
# For programs; the exit code is 1 where anything was damaged:
ocidistfs cache verify --json | jq '.damaged[].digest'
`

func addCacheVerify(app *kingpin.Application) (string, command) {
	cmd, run := addCacheCommand(app, "verify", "Read all of the cache and remove what is damaged. Whoever needs it fetches it again.", cacheVerifyExamples,
		func(ctx context.Context, dir string) (cacheAnswer, error) {
			v, err := cache.Verify(ctx, dir)
			if err == nil && len(v.Damaged) > 0 {
				err = verification{v}.damaged()
			}
			return verification{v}, err
		})
	return cmd.FullCommand(), run
}

// A verification says what was damaged, and how much was read.
type verification struct{ cache.Verification }

// damaged is the error that says how much was.
func (v verification) damaged() error {
	layers := 0
	for _, d := range v.Damaged {
		if d.Layer != "" {
			layers++
		}
	}
	blobs := len(v.Damaged) - layers
	switch {
	case layers == 0:
		return fmt.Errorf("%s damaged", plural(blobs, "blob was", "blobs were"))
	case blobs == 0:
		return fmt.Errorf("%s damaged", plural(layers, "part of what is kept of layers was", "parts of what is kept of layers were"))
	default:
		return fmt.Errorf("%s and %s were damaged", count(blobs, "blob"), plural(layers, "part of what is kept of layers", "parts of what is kept of layers"))
	}
}

func (v verification) write(w *strings.Builder, _ time.Time) {
	for _, d := range v.Damaged {
		what := "could not be removed"
		if d.Removed {
			what = "removed"
		}
		part := ""
		if d.Layer != "" {
			part = layerPart(d.Layer) + ": "
		}
		fmt.Fprintf(w, "%s: %s%s: %s\n", d.Digest, part, d.Reason, what)
	}
	for _, digest := range v.Mended {
		fmt.Fprintf(w, "%s: its sums were damaged: made anew\n", digest)
	}
	skipped := ""
	if v.Skipped > 0 {
		skipped = fmt.Sprintf("; %s being filled, and checked by who reads", plural(v.Skipped, "partial one is", "partial ones are"))
	}
	layers := ""
	if v.Indexes+v.Plain > 0 {
		layers = fmt.Sprintf(", %s of layers and plain bytes of %d", plural(v.Indexes, "index", "indexes"), v.Plain)
	}
	fmt.Fprintf(w, "%s and %s%s were read, %s%s\n", count(v.Blobs, "blob"), count(v.Partial, "partial one"), layers, size(v.Bytes), skipped)
}
