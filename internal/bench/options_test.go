package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// The variables that say what to run.
const (
	enabledVariable = "OCIDISTFS_BENCH"        // "1", or "smoke": what needs Go and FUSE alone, small, once
	roundsVariable  = "OCIDISTFS_BENCH_ROUNDS" // how often each side runs
	rowsVariable    = "OCIDISTFS_BENCH_ROWS"   // a regular expression: which comparisons
	sizeVariable    = "OCIDISTFS_BENCH_SIZE"   // of the image, in MB
	updateVariable  = "OCIDISTFS_BENCH_UPDATE" // not "": write the table into docs/benchmarks.md
)

// options are what the variables say.
type options struct {
	smoke  bool
	rounds int
	rows   *regexp.Regexp
	size   int64 // of the image, in bytes
	update bool
}

// parseOptions reads the variables.
func parseOptions(getenv func(string) string) (options, error) {
	o := options{smoke: getenv(enabledVariable) == "smoke", update: getenv(updateVariable) != ""}
	rounds, megabytes := 5, 1000
	if o.smoke {
		rounds, megabytes = 1, 32
	}
	var err error
	if o.rounds, err = positive(getenv, roundsVariable, rounds); err != nil {
		return o, err
	}
	if megabytes, err = positive(getenv, sizeVariable, megabytes); err != nil {
		return o, err
	}
	o.size = int64(megabytes) * 1e6
	if o.rows, err = regexp.Compile(getenv(rowsVariable)); err != nil {
		return o, fmt.Errorf("%s: %w", rowsVariable, err)
	}
	return o, nil
}

// positive is the number that a variable has, or what it is by default.
func positive(getenv func(string) string, name string, byDefault int) (int, error) {
	value := getenv(name)
	if value == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q, want a number above 0", name, value)
	}
	return n, nil
}

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		name           string
		set            map[string]string
		smoke, refused bool
		rounds         int
		size           int64
	}{
		{name: "nothing", rounds: 5, size: 1e9},
		{name: "all", set: map[string]string{enabledVariable: "1"}, rounds: 5, size: 1e9},
		{name: "smoke", set: map[string]string{enabledVariable: "smoke"}, smoke: true, rounds: 1, size: 32e6},
		{name: "numbers", set: map[string]string{enabledVariable: "smoke", roundsVariable: "3", sizeVariable: "256"}, smoke: true, rounds: 3, size: 256e6},
		{name: "no rounds", set: map[string]string{roundsVariable: "0"}, refused: true},
		{name: "no size", set: map[string]string{sizeVariable: "1GB"}, refused: true},
		{name: "no expression", set: map[string]string{rowsVariable: "("}, refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parseOptions(func(name string) string { return c.set[name] })
			if refused := err != nil; refused != c.refused {
				t.Fatalf("error %v, want one: %v", err, c.refused)
			}
			if !c.refused && (o.smoke != c.smoke || o.rounds != c.rounds || o.size != c.size) {
				t.Errorf("got %+v", o)
			}
		})
	}
}
