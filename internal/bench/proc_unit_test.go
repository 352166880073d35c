package bench

import (
	"testing"
	"time"
)

func TestProc(t *testing.T) {
	const status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 1 kB\n"
	if peak, now := parseMemory(status, "VmHWM"), parseMemory(status, "VmRSS"); peak != 1234<<10 || now != 1<<10 {
		t.Errorf("peak %d, now %d", peak, now)
	}
	if got := parseMemory("Name:\tkthreadd\n", "VmHWM"); got != 0 {
		t.Errorf("peak %d of one that has no memory", got)
	}
	if got := parseTimes([]byte("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 7 8")); got != 2*time.Second {
		t.Errorf("time %s", got)
	}
	if got := parseTimes([]byte("12 (a")); got != 0 {
		t.Errorf("time %s of half a line", got)
	}
}
