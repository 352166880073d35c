package gate

import (
	"runtime"
	"testing"
)

// An outcome is a test that takes down how it ends.
type outcome struct {
	testing.TB
	skipped, failed bool
}

func (o *outcome) Helper()               {}
func (o *outcome) Skipf(string, ...any)  { o.skipped = true; runtime.Goexit() }
func (o *outcome) Fatalf(string, ...any) { o.failed = true; runtime.Goexit() }

// of runs a test to its end.
func of(test func(testing.TB)) *outcome {
	o := &outcome{}
	ended := make(chan struct{})
	go func() { defer close(ended); test(o) }()
	<-ended
	return o
}

// What is missing hides nothing where nobody reads what was skipped.
func TestMissing(t *testing.T) {
	missing := func(t testing.TB) { Missing(t, "there is no %s", "git") }
	for ci, fails := range map[string]bool{"": false, "false": false, "true": true} {
		t.Setenv("CI", ci)
		if o := of(missing); o.failed != fails || o.skipped == fails {
			t.Errorf("with CI=%s: skipped %t, failed %t", ci, o.skipped, o.failed)
		}
	}
}

// A suite that was not asked for is skipped everywhere.
func TestSuite(t *testing.T) {
	t.Setenv("CI", "true")
	suite := func(t testing.TB) { Suite(t, "OCIDISTFS_NOSUCH") }
	if o := of(suite); !o.skipped || o.failed {
		t.Errorf("skipped %t, failed %t", o.skipped, o.failed)
	}
	t.Setenv("OCIDISTFS_NOSUCH", "1")
	if o := of(suite); o.skipped || o.failed {
		t.Errorf("asked for: skipped %t, failed %t", o.skipped, o.failed)
	}
}
