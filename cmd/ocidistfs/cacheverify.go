package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

const cacheVerifyExamples = `ocidistfs cache verify
# For programs; the exit code is 1 where anything was damaged:
ocidistfs cache verify --json | jq '.damaged[].digest'
`

func addCacheVerify(app *kingpin.Application) (string, command) {
	var dir string
	var asJSON bool
	cmd := cacheGroup(app).Command("verify", "Read all of the cache and remove what is damaged. Whoever needs it fetches it again.").HelpLong(cacheVerifyExamples)
	cacheFlag(cmd, &dir)
	cmd.Flag("json", "For programs: an object.").BoolVar(&asJSON)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		dir, err := cacheDir(dir)
		if err != nil {
			return err
		}
		v, failed := cache.Verify(ctx, dir)
		if failed == nil && len(v.Damaged) > 0 {
			failed = fmt.Errorf("%s damaged", plural(len(v.Damaged), "blob was", "blobs were"))
		}
		if failed != nil {
			failed = fmt.Errorf("cache verify %s: %w", dir, failed)
		}
		if asJSON {
			return errors.Join(writeJSON(s.out, v), failed)
		}
		for _, d := range v.Damaged {
			what := "could not be removed"
			if d.Removed {
				what = "removed"
			}
			if _, err := fmt.Fprintf(s.out, "%s: %s: %s\n", d.Digest, d.Reason, what); err != nil {
				return err
			}
		}
		for _, digest := range v.Mended {
			if _, err := fmt.Fprintf(s.out, "%s: its sums were damaged: made anew\n", digest); err != nil {
				return err
			}
		}
		skipped := ""
		if v.Skipped > 0 {
			skipped = fmt.Sprintf("; %s being filled, and checked by who reads", plural(v.Skipped, "partial one is", "partial ones are"))
		}
		_, err = fmt.Fprintf(s.out, "%s and %s were read, %s%s\n", count(v.Blobs, "blob"), count(v.Partial, "partial one"), size(v.Bytes), skipped)
		return errors.Join(err, failed)
	}
}
