package bench

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// reserve is what is left of the time when no more is run: when it is over,
// nobody ends what was started.
const reserve = 2 * time.Minute

// A comparison is of programs that do the same in turn, and what is made of it.
type comparison struct {
	name    string   // what OCIDISTFS_BENCH_ROWS chooses by
	needs   []string // the system's programs, besides those that every system has
	root    bool     // whether it takes root
	large   bool     // whether it is no part of the smoke test, whatever it needs
	once    bool     // whether a second round says nothing more
	sides   func(ctx context.Context, t *testing.T, b *bench) []side
	results []result
}

// A side does what is compared.
type side struct {
	name string
	// run makes everything as it has to be before, runs, checks what came out, and
	// removes it. Only its programs are timed.
	run func(ctx context.Context, t *testing.T) sample
}

// A result is a line of the table: one side beside another, by name.
type result struct {
	what         string
	ours, theirs string // theirs can be "": there is none
	target       string // what the ratio should be
}

// A sample is what one run took.
type sample struct {
	wall, cpu time.Duration
	memory    int64 // the peak of ours, which serves the mount, or of the program
	bytes     int64 // from the registry
	requests  []distributiontest.Request
	note      string // what else is to be said of it
}

// test runs the sides in turn, as often as the options say.
func (c *comparison) test(ctx context.Context, t *testing.T, b *bench) {
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	sides := c.sides(ctx, t, b)
	samples := map[string][]sample{}
	defer func() { measured.add(c, samples) }()
	rounds := b.rounds
	if c.once {
		rounds = 1
	}
	for round := range rounds {
		for _, s := range sides {
			if end, ok := t.Deadline(); ok && time.Until(end) < reserve {
				t.Fatal("no time is left for the rest")
			}
			t.Run(fmt.Sprintf("%s/%d", s.name, round+1), func(t *testing.T) {
				got := s.run(ctx, t)
				samples[s.name] = append(samples[s.name], got)
				t.Logf("%.3f s, %.1f MB, %d requests, %d MiB %s", got.wall.Seconds(), float64(got.bytes)/1e6, len(got.requests), got.memory>>20, got.note)
			})
			if ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
		}
	}
}

// comparisons are all, in the order of the table.
func comparisons() []comparison {
	return slices.Concat(coldComparisons(), warmComparisons(), []comparison{
		dockerComparison(), readersComparison(), tagsComparison(), directoriesComparison(), memoryComparison(),
	}, rootfsComparisons(), rootfsWarmComparisons())
}

// TestComparisons: names are there once, and each result is of sides that a
// reader can find.
func TestComparisons(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range comparisons() {
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
		if len(c.results) == 0 {
			t.Errorf("%s has no results", c.name)
		}
		for _, r := range c.results {
			if r.what == "" || r.ours == "" || r.target == "" {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
	}
}
