package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// commandLimit ends a command that hangs.
const commandLimit = 2 * time.Minute

// A command is a program to run in an environment that has nothing but what is
// said here.
type command struct {
	args  []string
	home  string // its HOME, and where its temporary files go
	dir   string // its working directory; "" is home
	stdin string // the file that it reads; "" is none
	path  string // before the rest of PATH, with a colon at its end
}

func (c command) prepare(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = []string{
		"PATH=" + c.path + os.Getenv("PATH"), "HOME=" + c.home, "TMPDIR=" + filepath.Join(c.home, "tmp"), "LC_ALL=C",
	}
	if cmd.Dir = c.dir; c.dir == "" {
		cmd.Dir = c.home
	}
	cmd.WaitDelay = 5 * time.Second // for those who inherited its output
	return cmd
}

// run returns what the command writes to standard output. The error has what it
// says besides.
func (c command) run(t *testing.T) (string, error) {
	t.Helper()
	// Not the test's own context: cleanups run commands too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit)
	defer cancel()
	cmd := c.prepare(ctx)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if c.stdin != "" {
		f, err := os.Open(c.stdin)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		cmd.Stdin = f
	}
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(c.args, " "), err, &out, &said)
	}
	return out.String(), nil
}

// must runs a command that has to succeed.
func (c command) must(t *testing.T) string {
	t.Helper()
	out, err := c.run(t)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
