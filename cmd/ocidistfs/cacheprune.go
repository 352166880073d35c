package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

const cachePruneExamples = `ocidistfs cache prune --older-than 30d
# What was used last stays, a gibibyte of it:
ocidistfs cache prune --max-size 1GiB
`

func addCachePrune(app *kingpin.Application) (string, command) {
	var dir string
	var most optionalSize
	var unused age
	var asJSON bool
	cmd := cacheGroup(app).Command("prune", "Remove blobs from the cache that were not used for long.").HelpLong(cachePruneExamples)
	cacheFlag(cmd, &dir)
	cmd.Flag("max-size", "How much may stay; what was used longest ago goes first.").PlaceHolder("SIZE").SetValue(&most)
	cmd.Flag("older-than", "Remove what was not used for this long, as in 36h or 30d.").PlaceHolder("DURATION").SetValue(&unused)
	cmd.Flag("json", "For programs: an object.").BoolVar(&asJSON)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		if !most.given && unused == 0 {
			return usagef("nothing says what is to go: --max-size or --older-than")
		}
		dir, err := cacheDir(dir)
		if err != nil {
			return err
		}
		p := cache.Pruning{Limited: most.given, MaxBytes: int64(most.byteSize)}
		if unused > 0 {
			p.UnusedSince = time.Now().Add(-time.Duration(unused))
		}
		r, err := cache.Prune(ctx, dir, p)
		if err != nil {
			err = fmt.Errorf("cache prune %s: %w", dir, err)
		}
		return errors.Join(writeRemoval(s, r, asJSON), err)
	}
}

const cacheClearExamples = `ocidistfs cache clear
`

func addCacheClear(app *kingpin.Application) (string, command) {
	var dir string
	var asJSON bool
	cmd := cacheGroup(app).Command("clear", "Remove everything from the cache that is not in use.").HelpLong(cacheClearExamples)
	cacheFlag(cmd, &dir)
	cmd.Flag("json", "For programs: an object.").BoolVar(&asJSON)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		dir, err := cacheDir(dir)
		if err != nil {
			return err
		}
		r, err := cache.Clear(ctx, dir)
		if err != nil {
			err = fmt.Errorf("cache clear %s: %w", dir, err)
		}
		return errors.Join(writeRemoval(s, r, asJSON), err)
	}
}

// writeRemoval says what was removed, and what was not.
func writeRemoval(s streams, r cache.Removal, asJSON bool) error {
	if asJSON {
		return writeJSON(s.out, r)
	}
	now := time.Now()
	var text strings.Builder
	line := func(b cache.RemovedBlob, what string) {
		kind := ""
		if b.Partial {
			kind = "partial, "
		}
		fmt.Fprintf(&text, "%s: %s%s, used %s ago: %s\n", b.Digest, kind, size(b.Bytes), roughly(now.Sub(b.Used)), what)
	}
	for _, b := range r.Removed {
		line(b, "removed")
	}
	for _, b := range r.InUse {
		line(b, "stays, it is in use")
	}
	if r.Repositories > 0 {
		fmt.Fprintf(&text, "what was known of %s: removed\n", plural(r.Repositories, "repository", "repositories"))
	}
	fmt.Fprintf(&text, "%s removed, %s freed; %s left\n", count(len(r.Removed), "blob"), size(r.Freed), size(r.Left))
	_, err := fmt.Fprint(s.out, text.String())
	return err
}
