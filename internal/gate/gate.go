// Package gate says where a suite that is no part of make test may run: where it
// was asked for, and where there is what it needs. CI has to have everything.
package gate

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// Suite skips a test whose suite was not asked for: the variable that its target of
// make sets, such as OCIDISTFS_CHAOS, is not set.
func Suite(t testing.TB, variable string) {
	t.Helper()
	if os.Getenv(variable) == "" {
		target := strings.ToLower(strings.TrimPrefix(variable, "OCIDISTFS_"))
		t.Skipf("%s is not set; make %s sets it", variable, target)
	}
}

// Mounts ends a test where file systems cannot be mounted without the help of
// others: that takes Linux, root and /dev/fuse.
func Mounts(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		Missing(t, "the suite mounts, and that takes Linux and root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		Missing(t, "file systems cannot be mounted: %v", err)
	}
}

// Missing ends a test that lacks something of the machine: it fails in CI, and is
// skipped elsewhere.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if CI() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// CI says whether nobody is there to read what was skipped.
func CI() bool { return os.Getenv("CI") == "true" }
