package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

const cacheClearExamples = `ocidistfs cache clear
`

func addCacheClear(app *kingpin.Application) (string, command) {
	cmd, run := addCacheCommand(app, "clear", "Remove everything from the cache that is not in use.", cacheClearExamples,
		func(ctx context.Context, dir string) (cacheAnswer, error) {
			r, err := cache.Clear(ctx, dir)
			return removal{r}, err
		})
	return cmd.FullCommand(), run
}

// A removal says what was removed, and what was not.
type removal struct{ cache.Removal }

func (r removal) write(w *strings.Builder, now time.Time) {
	line := func(b cache.RemovedBlob, what string) {
		kind := ""
		if b.Partial {
			kind = "partial, "
		}
		fmt.Fprintf(w, "%s: %s%s, used %s ago: %s\n", b.Digest, kind, size(b.Bytes), roughly(now.Sub(b.Used)), what)
	}
	for _, b := range r.Removed {
		line(b, "removed")
	}
	for _, b := range r.InUse {
		line(b, "stays, it is in use")
	}
	if r.Repositories > 0 {
		fmt.Fprintf(w, "what was known of %s: removed\n", plural(r.Repositories, "repository", "repositories"))
	}
	fmt.Fprintf(w, "%s removed, %s freed; %s left\n", count(len(r.Removed), "blob"), size(r.Freed), size(r.Left))
}
