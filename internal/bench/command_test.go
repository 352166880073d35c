package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandLimit ends a command that hangs.
const commandLimit = 10 * time.Minute

// A command is a program to run in an environment that has nothing but what is
// said here.
type command struct {
	args []string
	home string  // its HOME, working directory, and where its temporary files go
	user *uint32 // who runs it; nil is who runs the test
}

// sh is a command of the shell's, whose $1 and so on are args.
func sh(home, script string, args ...string) command {
	return command{home: home, args: append([]string{"sh", "-c", script, "sh"}, args...)}
}

func (c command) prepare(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "TMPDIR=" + filepath.Join(c.home, "tmp"), "LC_ALL=C"}
	cmd.Dir = c.home
	cmd.WaitDelay = 5 * time.Second // for those who inherited its output
	if c.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: *c.user, Gid: *c.user}}
	}
	return cmd
}

// finished is what a command took.
type finished struct {
	wall, cpu time.Duration
	memory    int64 // its peak, as far as it was seen
}

// run runs the command; what it writes to standard output goes nowhere. The
// error has what it says besides.
func (c command) run(ctx context.Context) (finished, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := c.prepare(ctx)
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return finished{}, err
	}
	watch := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	f := finished{wall: time.Since(start), memory: watch()}
	f.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil {
		return f, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), errors.Join(err, context.Cause(ctx)), &said)
	}
	return f, nil
}

// must runs a command that has to succeed.
func (c command) must(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := c.run(ctx); err != nil {
		t.Fatal(err)
	}
}

// output is what a command that has to succeed writes.
func (c command) output(ctx context.Context, t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := c.prepare(ctx)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(c.args, " "), err, &said)
	}
	return string(out)
}
