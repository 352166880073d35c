package bench

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// watchPause is between two looks at a process's memory. The kernel keeps the
// peak, but for as long as the process is there: what wait4(2) says of a peak
// counts what the process was forked from.
const watchPause = 20 * time.Millisecond

// watchMemory looks at a process until the function that it returns is called,
// which returns the peak.
func watchMemory(pid int) func() int64 {
	over, seen := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			peak = max(peak, peakMemory(pid))
			select {
			case <-over:
				seen <- peak
				return
			case <-time.After(watchPause):
			}
		}
	}()
	return func() int64 {
		close(over)
		return <-seen
	}
}

// peakMemory is the largest resident memory that a process ever had, in bytes;
// 0 where there is none.
func peakMemory(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	return parseMemory(string(b), "VmHWM")
}

// residentMemory is the resident memory that a process has now, in bytes; 0 where there
// is none.
func residentMemory(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	return parseMemory(string(b), "VmRSS")
}

// parseMemory is a size of /proc/PID/status, in bytes.
func parseMemory(status, name string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64) // proc(5): a number
			return kilobytes << 10
		}
	}
	return 0
}

// processorTime is what a process has used of the processors.
func processorTime(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	return parseTimes(b)
}

// parseTimes adds up user and system time, the 14th and 15th field, in
// hundredths of a second. The second, in parentheses, can have spaces.
func parseTimes(stat []byte) time.Duration {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, _ := strconv.ParseInt(string(field), 10, 64) // proc(5): a number
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
