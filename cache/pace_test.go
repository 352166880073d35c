package cache

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace receives bodies at a steady rate: the next is asked for as long before
// the end as an answer takes, and not before half of it is there.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		answer, body time.Duration
		want         int // percent that have come by then
	}{
		"a short round trip":        {40 * time.Millisecond, 400 * time.Millisecond, 91},
		"a long one":                {400 * time.Millisecond, 400 * time.Millisecond, 50},
		"longer than the body":      {time.Second, 100 * time.Millisecond, 50},
		"none worth mentioning":     {0, 400 * time.Millisecond, 100},
		"a body that comes at once": {time.Millisecond, 0, 50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p pace
				p.ask(1000)
				time.Sleep(c.answer)
				for came := 1; came <= 100; came++ {
					if p.come(10) {
						if came < c.want-1 || came > c.want+1 {
							t.Errorf("after %d %%, want %d", came, c.want)
						}
						return
					}
					time.Sleep(c.body / 100)
				}
				t.Error("never")
			})
		})
	}
}
