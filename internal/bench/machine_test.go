package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine says in a line what was measured on.
func machine() string {
	memory := ""
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(field(string(b), "MemTotal"), " kB"), 10, 64) // proc(5): a number
		memory = fmt.Sprintf(", %.0f GiB", float64(kilobytes)/(1<<20))
	}
	processor := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(string(b), "model name"); model != "" {
			processor = model
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // "" where it is not Linux
	return fmt.Sprintf("%s, %d cores%s, Linux %s, %s", processor, runtime.NumCPU(), memory, strings.TrimSpace(string(kernel)), runtime.Version())
}

// load is how many processes wanted to run in the last minute, in the mean.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	return strings.SplitN(string(b), " ", 2)[0]
}

// field is the first value of a name in a file of lines "name: value".
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
