package main

import (
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
)

// cacheLimits are how large the cache directory may be. Its fields go to the process
// in the background as JSON.
type cacheLimits struct {
	Size    byteSize // 0 is no limit
	MinFree freeSize
}

func (l *cacheLimits) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("cache-size", "How much the cache may keep; what was used longest ago goes first. 0 is no limit.").Default("10GiB").SetValue(&l.Size)
	cmd.Flag("cache-min-free", "How much the cache leaves free on its disk; auto is 1GiB, or 5 % of a small one.").Default("auto").SetValue(&l.MinFree)
}

// options are those of a store, besides others.
func (l *cacheLimits) options(o cache.Options) cache.Options {
	o.MaxBytes, o.MinFree = int64(l.Size), int64(l.MinFree)
	return o
}

// freeSize is the value of a flag that is a number of bytes, or auto.
type freeSize int64

func (s *freeSize) Set(text string) error {
	if text == "auto" {
		*s = cache.AutoFree
		return nil
	}
	var n byteSize
	if err := n.Set(text); err != nil {
		return fmt.Errorf("%w, nor auto", err)
	}
	*s = freeSize(n)
	return nil
}

func (s *freeSize) String() string {
	if *s == cache.AutoFree {
		return "auto"
	}
	n := byteSize(*s)
	return n.String()
}
