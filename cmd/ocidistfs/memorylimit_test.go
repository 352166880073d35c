package main

import "testing"

// What the collector is told leaves room for the program, and for what it does not
// count.
func TestCollectorLimit(t *testing.T) {
	for _, c := range []struct{ memory, want int64 }{
		{minMemory, 48 << 20},
		{128 << 20, 112 << 20},
		{256 << 20, 224 << 20},
		{8 << 30, 7 << 30},
	} {
		if got := collectorLimit(c.memory); got != c.want {
			t.Errorf("of %d MiB: %d MiB, want %d", c.memory>>20, got>>20, c.want>>20)
		}
	}
}
