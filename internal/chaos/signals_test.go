package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A wait is a way for a program to hang in a system call on a registry that says
// nothing.
type wait struct {
	name string
	kind registrytest.Kind // what is not answered
	args []string          // the program; PATH is the repository in the mount
}

var waits = []wait{
	{"lookup", registrytest.Manifest, []string{"stat", "PATH/tags/1/digest"}},
	{"open", registrytest.Manifest, []string{"cat", "PATH/tags/1/manifest.json"}},
	{"readdir", registrytest.Tags, []string{"ls", "PATH/tags"}},
	{"read", registrytest.Blob, []string{"cat", "PATH/tags/1/image.tar"}},
}

// fatalLimit is how long a program may live after a fatal signal.
const fatalLimit = 100 * time.Millisecond

// TestFatalSignals ends programs that wait, in each system call that can, by each
// signal that ends a program. These catch none: dash would catch SIGINT, which is
// then no reason to end a call.
func TestFatalSignals(t *testing.T) {
	b := newBench(t)
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGKILL}
	m := b.mount(t, b.home(t, "cache"))
	slowest := map[string]time.Duration{}
	var all []time.Duration
	for round := range times(10, 1) {
		// A registry each: the requests that nobody waits for any more go on, and a
		// host has 32 connections.
		r := registrytest.Start(t, registrytest.Options{})
		came := make(chan string, 1000)
		r.Break(func(w http.ResponseWriter, req *http.Request, asked registrytest.Request, next http.HandlerFunc) {
			name, _, _ := strings.Cut(asked.Repository, "-")
			for _, c := range waits {
				if c.name == name && c.kind == asked.Kind {
					came <- asked.Repository
					r.Silent()(w, req, asked, next)
				}
			}
			next(w, req)
		})
		for _, c := range waits {
			for _, sig := range signals {
				repository := fmt.Sprintf("%s-%d", c.name, sig)
				spec := registrytest.ImageSpec{Layers: []int64{300_000}, Seed: uint64(round)<<8 + uint64(sig)}
				r.Push(t, repository, "1", registrytest.Image(t, spec))
				args := slices.Clone(c.args)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "PATH", m.in(r.Host(), repository))
				}
				p := b.launch(t, args...)
				awaitRequest(t, came, repository, p)
				began := time.Now()
				if err := p.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				p.gone(t)
				took := time.Since(began)
				all = append(all, took)
				slowest[c.name] = max(slowest[c.name], took)
				if !p.signalled(sig) {
					t.Errorf("%s, %s: it ended by %s", c.name, sig, p.cmd.ProcessState)
				}
				if took > fatalLimit {
					t.Errorf("%s, %s: it was gone after %s", c.name, sig, took)
				}
			}
		}
	}
	slices.Sort(all)
	t.Logf("%d programs were ended; median %s, slowest %s: %v", len(all), all[len(all)/2], all[len(all)-1], slowest)
}

// awaitRequest returns when the program hangs: its request has come.
func awaitRequest(t *testing.T, came <-chan string, repository string, p *running) {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case got := <-came:
			if got == repository {
				return
			}
		case <-p.ended:
			t.Fatalf("%s did not wait: %s", strings.Join(p.cmd.Args, " "), p.cmd.ProcessState)
		case <-deadline:
			t.Fatalf("no request for %s came", repository)
		}
	}
}

// TestHarmlessSignals has programs read a slow blob while signals rain: a timer
// that they catch, and what a terminal, a debugger or a shell sends.
func TestHarmlessSignals(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	i := b.push(t, r, "a", registrytest.ImageSpec{Layers: []int64{int64(times(4<<20, 400_000))}})
	r.Break(registrytest.Only(registrytest.Blob, r.Trickle(20_000, 25*time.Millisecond)))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"a timer of its own": {"env", readerVariable + "=PATH", self},
		"cat":                {"cat", "PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			m := b.mount(t, b.home(t, "cache"))
			args := slices.Clone(args)
			for n := range args {
				args[n] = strings.ReplaceAll(args[n], "PATH", m.in(i.dir, "image.tar"))
			}
			cmd := b.command(args...)
			var said strings.Builder
			digest := sha256.New()
			cmd.Stdout, cmd.Stderr = digest, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended, sent := make(chan error, 1), 0
			go func() { ended <- cmd.Wait() }()
			rain := []syscall.Signal{syscall.SIGURG, syscall.SIGWINCH, syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGCHLD}
			tick := time.NewTicker(13 * time.Millisecond)
			defer tick.Stop()
			for over := false; !over; {
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("%v: %s", err, said.String())
					}
					over = true
				case <-tick.C:
					_ = cmd.Process.Signal(rain[sent%len(rain)]) // or it has just ended
					sent++
				}
			}
			if got := hex.EncodeToString(digest.Sum(nil)); got != i.tar {
				t.Errorf("other bytes: %s, want %s", got, i.tar)
			}
			if sent < len(rain) {
				t.Errorf("only %d signals were sent", sent)
			}
			t.Logf("%d signals", sent)
		})
	}
}

// readerVariable has the test's binary copy a file to standard output by plain
// system calls, where one that is interrupted shows, under a timer.
const readerVariable = "OCIDISTFS_CHAOS_READER"

func readUnderTimer(path string) int {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGALRM)
	every := unix.NsecToTimeval(int64(50 * time.Millisecond))
	if _, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{Interval: every, Value: every}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := copyPlainly(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-caught // or it was not disturbed, and nothing was tested
	return 0
}

func copyPlainly(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for b := make([]byte, 128<<10); ; {
		n, err := unix.Read(fd, b)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return unix.Close(fd)
		}
		if _, err := os.Stdout.Write(b[:n]); err != nil {
			return err
		}
	}
}

// TestKillOfAll kills the process of a mount, and those that wait for it, in either
// order: nobody is left in the kernel's hands, and the next mount works.
func TestKillOfAll(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	i := b.push(t, r, "a", registrytest.ImageSpec{Layers: []int64{300_000}})
	silent := registrytest.Only(registrytest.Manifest, r.Silent())
	m := b.mount(t, b.home(t, "cache"))
	for round := range times(20, 4) {
		r.Break(silent)
		r.Forget()
		var waiting []*running
		for n := range 10 {
			tag := fmt.Sprintf("t%d-%d", round, n)
			waiting = append(waiting, b.launch(t, "cat", m.in(r.Host(), "a", "tags", tag, "digest")))
		}
		eventually(t, "ten requests", func() bool { return r.Count(registrytest.Manifest) == len(waiting) })
		if round%2 == 0 {
			m.kill(t)
		} else {
			for _, p := range waiting {
				_ = p.cmd.Process.Kill() // it waits
			}
		}
		for _, p := range waiting {
			p.gone(t)
		}
		if round%2 == 1 {
			m.kill(t)
		}
		r.Heal()
		m.start(t)
		if o := b.run("cat", m.in(i.dir, "image.tar")); !i.isIt(o) {
			t.Fatalf("after a kill: %v", o)
		}
	}
	if o := b.run("cat", filepath.Join(m.root, "nosuch")); o.err == nil || errors.Is(o.err, exec.ErrNotFound) {
		t.Errorf("a name that cannot exist: %v", o)
	}
}
