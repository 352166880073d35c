package cache

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// abandonedAfter is how old an unfinished file is that nobody will finish: the
// longest are the sums of a terabyte, and they are written at once.
const abandonedAfter = 24 * time.Hour

// sweep removes what kills left of files that were being written, until ctx ends.
// It is in nobody's way: what cannot be looked at or removed now is so when the
// directory is opened again.
func sweep(ctx context.Context, dir string) {
	sweepDir(ctx, dir)
	sweepDir(ctx, filepath.Join(dir, "sums", "sha256"))
	sweepLayers(ctx, dir)
	refs := filepath.Join(dir, "refs")
	repositories, _ := os.ReadDir(refs)
	for _, r := range repositories {
		for _, sub := range []string{"", "tags", "digests", "referrers"} {
			sweepDir(ctx, filepath.Join(refs, r.Name(), sub))
		}
	}
}

// sweepDir removes the abandoned files in one directory.
func sweepDir(ctx context.Context, dir string) {
	if ctx.Err() != nil {
		return
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) || !e.Type().IsRegular() {
			continue
		}
		// By the clock of files, which is no test's.
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
