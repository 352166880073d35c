package main

import (
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// staleness is what is done where a registry cannot be asked. Its fields go to the
// process in the background as JSON.
type staleness struct {
	StaleIfError time.Duration
	Offline      bool
}

func (s *staleness) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("stale-if-error", "For how long after a registry said what a tag means that is still used when the registry fails to; 0s is not at all.").Default("1h").DurationVar(&s.StaleIfError)
	cmd.Flag("offline", "Make no request: use what the cache has, whatever its age.").BoolVar(&s.Offline)
}

func (s *staleness) check() error {
	if s.StaleIfError < 0 {
		return usagef("--stale-if-error cannot be negative")
	}
	return nil
}
