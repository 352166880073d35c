package main

import (
	"context"
	"fmt"
	"strconv"
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
	var most optionalSize
	var unused age
	cmd, run := addCacheCommand(app, "prune", "Remove blobs from the cache that were not used for long.", cachePruneExamples,
		func(ctx context.Context, dir string) (cacheAnswer, error) {
			p := cache.Pruning{Limited: most.given, MaxBytes: int64(most.byteSize)}
			if unused > 0 {
				p.UnusedSince = time.Now().Add(-time.Duration(unused))
			}
			r, err := cache.Prune(ctx, dir, p)
			return removal{r}, err
		})
	cmd.Flag("max-size", "How much may stay; what was used longest ago goes first.").PlaceHolder("SIZE").SetValue(&most)
	cmd.Flag("older-than", "Remove what was not used for this long, as in 36h or 30d.").PlaceHolder("DURATION").SetValue(&unused)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		if !most.given && unused == 0 {
			return usagef("nothing says what is to go: --max-size or --older-than")
		}
		return run(ctx, s)
	}
}

// optionalSize is the value of a flag that is a number of bytes, where 0 is not the
// same as none.
type optionalSize struct {
	byteSize
	given bool
}

func (s *optionalSize) Set(text string) error {
	s.given = true
	return s.byteSize.Set(text)
}

// age is the value of a flag that is a time, in which days are 24 hours.
type age time.Duration

func (a *age) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * float64(24*time.Hour))
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time, as in 36h or 30d", text)
	}
	*a = age(d)
	return nil
}

func (a *age) String() string { return time.Duration(*a).String() }
