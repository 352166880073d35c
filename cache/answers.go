package cache

import (
	"io"
	"time"
)

// answers are what the source of a repository's blobs answered to ranges, and when.
type answers struct{ ranges, whole time.Time }

const (
	// knownAnswers is of how many repositories a store remembers them.
	knownAnswers = 1024
	// goodRanges is how long ranges of one blob are expected of another.
	goodRanges = time.Minute
	// goodWhole is how long they are not, after a whole blob came for one: it is a cache
	// that has some blobs, whose ranges say nothing of others.
	goodWhole = 10 * time.Minute
)

// A Ranged is a body that may say that its source sends ranges of every blob, and not
// only, as one that pulls through, of those that it has.
type Ranged interface{ Ranged() bool }

// A Whole is a body that may say whether it is all of the blob, whatever was asked for.
// Where it begins elsewhere than what was asked for, that says the same.
type Whole interface{ Whole() bool }

func isRanged(body io.Reader) bool {
	r, ok := body.(Ranged)
	return ok && r.Ranged()
}

func isWhole(body io.Reader) bool {
	w, ok := body.(Whole)
	return ok && w.Whole()
}

// note takes note of an answer to a range.
func (s *Store) note(repository string, body io.Reader, whole bool) {
	if !whole && !isRanged(body) {
		return
	}
	known, _ := s.answers.Get(repository)
	if whole {
		known.whole = s.opts.Now()
	} else {
		known.ranges = s.opts.Now()
	}
	s.answers.Add(repository, known) // of two at once either is right
}

// expectsRanges says whether ranges are expected of a blob of which nothing is known.
func (s *Store) expectsRanges(repository string) bool {
	known, _ := s.answers.Get(repository)
	now := s.opts.Now()
	return now.Sub(known.ranges) < goodRanges && now.Sub(known.whole) >= goodWhole
}
