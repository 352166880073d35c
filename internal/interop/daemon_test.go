package interop

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

const (
	// startLimit is how long a daemon may take to answer.
	startLimit = time.Minute
	// stopLimit is how long it may take to end before it is killed.
	stopLimit = 30 * time.Second
	// pause is between two questions to a daemon.
	pause = 100 * time.Millisecond
)

// startDaemon runs a program in the background until the test ends, however it
// ends, and returns when ready says so.
func startDaemon(t *testing.T, c command, ready func() error) {
	t.Helper()
	cmd := c.prepare(context.WithoutCancel(t.Context()))
	log, err := os.CreateTemp(c.home, "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its log says why
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // or it ended before
		select {
		case <-ended:
		case <-time.After(stopLimit):
			t.Errorf("%s does not stop", c.args[0])
			_ = cmd.Process.Kill()
			<-ended
		}
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s said:\n%s", c.args[0], text)
		}
	})
	for deadline := time.After(startLimit); ; {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended", c.args[0])
		case <-deadline:
			t.Fatalf("%s does not answer: %v", c.args[0], err)
		case <-time.After(pause):
		}
	}
}
