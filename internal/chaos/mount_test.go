package chaos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mounted is a mount of the program's, whose process can be killed and started
// again.
type mounted struct {
	bench *bench
	root  string
	cache string
	flags []string
	log   string // the file with what the processes said

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// mount mounts with a cache directory, until stop or the end of the test.
func (b *bench) mount(t *testing.T, cache string, flags ...string) *mounted {
	t.Helper()
	m := &mounted{bench: b, root: b.home(t, "mnt"), cache: cache, flags: flags}
	m.log = m.root + ".log"
	t.Cleanup(func() {
		m.stop(t)
		if text, err := os.ReadFile(m.log); err == nil && t.Failed() {
			t.Logf("the process of %s said:\n%s", m.root, text[max(0, len(text)-lastWords):])
		}
	})
	m.start(t)
	return m
}

const (
	// lastWords is how much of a log is shown after a failure, in bytes.
	lastWords = 4000
	// stopLimit is how long a mount may take to end.
	stopLimit = 20 * time.Second
)

// start starts the process of the mount, over a stale mount where the one before
// was killed, and returns when it answers.
func (m *mounted) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	args := append([]string{"mount", "--foreground", "--anonymous", "--platform", "linux/amd64", "--cache-dir", m.cache, "--log-level", "warn"}, m.flags...)
	m.cmd = exec.Command(program, append(args, m.root)...)
	m.cmd.Env = m.bench.environment()
	m.cmd.Dir = "/"
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which ends it
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		_ = cmd.Wait() // how it ended is in the log
		close(ended)
	}(m.cmd, m.ended)
	eventually(t, "a mount that answers", func() bool {
		select {
		case <-m.ended:
			t.Fatal("the process of the mount has ended")
		default:
		}
		return m.status().Mount.PID == m.pid()
	})
}

func (m *mounted) pid() int { return m.cmd.Process.Pid }

// A status is what a mount says of itself.
type status struct {
	Mount struct {
		PID        int
		Goroutines int
	}
}

// status is the mount's; its zero value where it does not answer.
func (m *mounted) status() (s status) {
	if b, err := os.ReadFile(filepath.Join(m.root, ".ocidistfs", "status.json")); err == nil {
		_ = json.Unmarshal(b, &s) // of an older one
	}
	return s
}

// kill ends the process as a power failure would, and returns when it is gone.
func (m *mounted) kill(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-m.ended
}

// stop ends the process in an orderly way. It may have ended before.
func (m *mounted) stop(t *testing.T) {
	t.Helper()
	if m.cmd == nil {
		return
	}
	select {
	case <-m.ended:
	default:
		_ = m.cmd.Process.Signal(syscall.SIGTERM) // or it has just ended
	}
	select {
	case <-m.ended:
	case <-time.After(stopLimit):
		t.Errorf("the process of %s does not end", m.root)
		_ = m.cmd.Process.Kill() // or it has just ended
		<-m.ended
	}
	if isMounted(t, m.root) { // the process was killed
		if out, err := exec.Command("umount", "-l", m.root).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	}
}

// in is a path in the mount.
func (m *mounted) in(path ...string) string {
	return filepath.Join(append([]string{m.root}, path...)...)
}

func isMounted(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+dir+" ")
}
