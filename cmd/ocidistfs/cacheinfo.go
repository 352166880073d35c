package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

const cacheInfoExamples = `ocidistfs cache info
# For programs:
ocidistfs cache info --json | jq '{bytes, maxBytes, freeBytes}'
`

// A cacheReport is what a cache directory has, and may have.
type cacheReport struct {
	cache.Info
	MaxBytes int64 `json:"maxBytes"` // 0 is no limit
}

func addCacheInfo(app *kingpin.Application) (string, command) {
	var limits cacheLimits
	cmd, run := addCacheCommand(app, "info", "Show what the cache has, how old it is, and how large it may be.", cacheInfoExamples,
		func(_ context.Context, dir string) (cacheAnswer, error) {
			info, err := cache.InfoOf(dir, int64(limits.MinFree))
			if err != nil {
				return nil, err
			}
			return cacheReport{info, int64(limits.Size)}, nil
		})
	limits.flags(cmd)
	return cmd.FullCommand(), run
}

func (r cacheReport) write(w *strings.Builder, now time.Time) {
	fmt.Fprintln(w, r.Dir)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("blobs", "%s, %s", count(r.Blobs, "blob"), size(r.BlobBytes))
	line("partial", "%s, %s", count(r.Partial, "blob"), size(r.PartialBytes))
	line("layers", "%s, %s of indexes, %s of plain bytes", count(r.Layers, "layer"), size(r.IndexBytes), size(r.PlainBytes))
	line("names", "%s, %s, %s; %s", plural(r.Repositories, "repository", "repositories"), count(r.Tags, "tag"), count(r.Manifests, "manifest"), size(r.RecordBytes))
	if !r.Oldest.IsZero() {
		line("last used", "%s ago at the longest, %s ago at the shortest", roughly(now.Sub(r.Oldest)), roughly(now.Sub(r.Newest)))
	}
	limit := "without a limit"
	if r.MaxBytes > 0 {
		limit = fmt.Sprintf("of %s (--cache-size)", size(r.MaxBytes))
	}
	line("size", "%s %s", size(r.Bytes), limit)
	if r.Size > 0 {
		line("disk", "%s free of %s, of which %s are left alone (--cache-min-free)", size(r.Free), size(r.Size), size(r.LeastFree))
	}
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
