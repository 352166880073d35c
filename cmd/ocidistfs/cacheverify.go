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
				err = fmt.Errorf("%s damaged", plural(len(v.Damaged), "blob was", "blobs were"))
			}
			return verification{v}, err
		})
	return cmd.FullCommand(), run
}

// A verification says what was damaged, and how much was read.
type verification struct{ cache.Verification }

func (v verification) write(w *strings.Builder, _ time.Time) {
	for _, d := range v.Damaged {
		what := "could not be removed"
		if d.Removed {
			what = "removed"
		}
		fmt.Fprintf(w, "%s: %s: %s\n", d.Digest, d.Reason, what)
	}
	for _, digest := range v.Mended {
		fmt.Fprintf(w, "%s: its sums were damaged: made anew\n", digest)
	}
	skipped := ""
	if v.Skipped > 0 {
		skipped = fmt.Sprintf("; %s being filled, and checked by who reads", plural(v.Skipped, "partial one is", "partial ones are"))
	}
	fmt.Fprintf(w, "%s and %s were read, %s%s\n", count(v.Blobs, "blob"), count(v.Partial, "partial one"), size(v.Bytes), skipped)
}
