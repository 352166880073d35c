package bench

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The modules that pin Go programs, beside this package.
const (
	loadersModule = "../loaders"
	toolsModule   = "../benchtools"
)

// goTool compiles a program that a module names as a tool, into Go's build
// cache, and returns where it is there.
func goTool(ctx context.Context, t *testing.T, module, name string) string {
	t.Helper()
	c := exec.CommandContext(ctx, "go", "-C", module, "tool", "-n", name)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said strings.Builder
	c.Stderr = &said
	path, err := c.Output()
	if err != nil {
		t.Fatalf("%s cannot be built: %v\n%s", name, err, &said)
	}
	return strings.TrimSpace(string(path))
}

// installed says whether the system has a program.
func (b *bench) installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
