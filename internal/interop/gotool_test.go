package interop

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// loadersModule pins Go programs, beside this package.
const loadersModule = "../loaders"

// goTool compiles a program that the module names as a tool, into Go's build
// cache, and returns where it is there.
func goTool(t *testing.T, name string) string {
	t.Helper()
	path, err := goToolOf(t, loadersModule, name)
	if err != nil {
		gate.Missing(t, "%s cannot be built: %v", name, err)
	}
	return path
}

// goToolOf does, of another module.
func goToolOf(t *testing.T, module, name string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "-C", module, "tool", "-n", name)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said strings.Builder
	c.Stderr = &said
	path, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, &said)
	}
	return strings.TrimSpace(string(path)), nil
}

// builtVersion is the version of a program that was built from a module.
func builtVersion(t *testing.T, path string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return version(info.Main.Version)
}

// versionPattern is what all versions begin with; what follows are fixes.
var versionPattern = regexp.MustCompile(`[0-9]+\.[0-9]+`)

// version finds the first version in what a program says.
func version(said string) string { return versionPattern.FindString(said) }
