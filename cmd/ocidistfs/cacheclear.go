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
		if b.Layer != "" {
			kind = layerPart(b.Layer) + ", "
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
	layers := 0
	for _, b := range r.Removed {
		if b.Layer != "" {
			layers++
		}
	}
	removed := count(len(r.Removed)-layers, "blob")
	if layers > 0 {
		removed += " and " + plural(layers, "part of what was kept of layers", "parts of what was kept of layers")
	}
	fmt.Fprintf(w, "%s removed, %s freed; %s left\n", removed, size(r.Freed), size(r.Left))
}

// layerPart is what was kept of a layer, in words.
func layerPart(part string) string {
	if part == "index" {
		return "the index of a layer"
	}
	return "plain bytes of a layer"
}
