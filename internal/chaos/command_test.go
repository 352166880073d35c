package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangLimit is when a program that reads from a mount hangs: no operation may take
// longer than a minute, and these do not do many that have to wait.
const hangLimit = 150 * time.Second

// environment is that of all programs: nothing of the user's.
func (b *bench) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "TMPDIR=" + b.dir, "LC_ALL=C"}
}

// command is a program to run; one that dumps core does not.
func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -c 0; exec "$@"`, "sh"}, args...)...)
	cmd.Env = b.environment()
	cmd.Dir = b.dir
	return cmd
}

// An outcome is how a program ended.
type outcome struct {
	sum  string // SHA-256 of what it wrote, in hexadecimal
	size int64
	said string // to standard error
	err  error
	hung bool
	took time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("%d bytes in %s, error %v, %q", o.size, o.took, o.err, o.said)
}

// run runs a program and does not wait longer than hangLimit for it.
func (b *bench) run(args ...string) outcome { return b.runWithin(hangLimit, args...) }

// runWithin does the same with another limit.
func (b *bench) runWithin(limit time.Duration, args ...string) outcome {
	cmd := b.command(args...)
	digest := sha256.New()
	out := &countingWriter{to: digest}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{err: err}
	}
	var o outcome
	watch := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() }) // or it has just ended
	o.err = cmd.Wait()
	o.hung = !watch.Stop()
	o.took = time.Since(began)
	o.sum, o.size, o.said = hex.EncodeToString(digest.Sum(nil)), out.n, strings.TrimSpace(said.String())
	return o
}

// must runs a program that has to succeed.
func (b *bench) must(t *testing.T, args ...string) outcome {
	t.Helper()
	o := b.run(args...)
	if o.err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), o)
	}
	return o
}

// output is what a program that has to succeed writes.
func (b *bench) output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.command(args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

type countingWriter struct {
	to io.Writer
	n  int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.n += int64(n)
	return n, err
}

// A running is a program that was started and is to be waited for.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts a program whose output nobody wants. It ends with the test.
func (b *bench) launch(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{b.command(args...), make(chan struct{})}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait() // whoever cares looks at the state
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // or it has ended
		<-r.ended
	})
	return r
}

// gone waits until a program is gone that has to go, such as one that was killed:
// one in the kernel's hands (state D) would not.
func (r *running) gone(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatalf("process %d is not gone: state %s", r.cmd.Process.Pid, stateOf(r.cmd.Process.Pid))
	}
}

// stateOf is the state of a process, a letter; "" where there is none.
func stateOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // proc_pid_stat(5)
	return string(fields[0])
}

// signalled says whether a program was ended by a signal.
func (r *running) signalled(by syscall.Signal) bool {
	state, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && state.Signaled() && state.Signal() == by
}

// start starts a program; the function that it returns waits for it.
func (b *bench) start(t *testing.T, args ...string) func() outcome {
	t.Helper()
	return b.startWithin(t, hangLimit, args...)
}

// startWithin does the same with another limit.
func (b *bench) startWithin(t *testing.T, limit time.Duration, args ...string) func() outcome {
	t.Helper()
	ended := make(chan outcome, 1)
	go func() { ended <- b.runWithin(limit, args...) }()
	return func() outcome { return <-ended }
}
