package bench

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const (
	// startLimit is how long a program may take to be ready.
	startLimit = time.Minute
	// stopLimit is how long it may take to end before it is killed.
	stopLimit = 30 * time.Second
	// lastWords is how much of what it said is shown after a failure, in bytes.
	lastWords = 4000
	// pause is between two questions whether it is.
	pause = 5 * time.Millisecond
)

// A daemon is a program in the background.
type daemon struct {
	pid   int
	name  string
	log   string // the file with what it says
	ended chan struct{}
}

// startDaemon runs a program in the background until stop or the end of the
// test, however that ends, and returns when it is ready.
func startDaemon(ctx context.Context, t *testing.T, c command, ready func() bool) *daemon {
	t.Helper()
	cmd := c.prepare(context.WithoutCancel(ctx))
	log, err := os.CreateTemp(c.home, "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true // ctrl-C is for the test, which ends it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{pid: cmd.Process.Pid, name: filepath.Base(c.args[0]), log: log.Name(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its log says why
		close(d.ended)
	}()
	t.Cleanup(func() { d.stop(t) })
	for deadline := time.After(startLimit); !ready(); {
		select {
		case <-d.ended:
			t.Fatalf("%s ended", d.name)
		case <-deadline:
			t.Fatalf("%s does not answer", d.name)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(pause):
		}
	}
	return d
}

// stop ends the program. It may have ended before.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	select {
	case <-d.ended: // its number may be another's by now
	default:
		_ = syscall.Kill(d.pid, syscall.SIGTERM) // or it has just ended
	}
	select {
	case <-d.ended:
	case <-time.After(stopLimit):
		t.Errorf("%s does not stop", d.name)
		_ = syscall.Kill(d.pid, syscall.SIGKILL) // or it has just ended
		<-d.ended
	}
	if text, err := os.ReadFile(d.log); err == nil && t.Failed() {
		t.Logf("%s said:\n%s", d.name, text[max(0, len(text)-lastWords):])
	}
	_ = os.Remove(d.log) // or it is gone
}
