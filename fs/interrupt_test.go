//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func TestFatalPending(t *testing.T) {
	status := func(pending, shared, blocked, ignored, caught uint64) []byte {
		return fmt.Appendf(nil, "Name:\tcat\nSigQ:\t0/96318\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
			pending, shared, blocked, ignored, caught)
	}
	for name, c := range map[string]struct {
		status []byte
		want   bool
	}{
		"nothing":                         {status(0, 0, 0, 0, 0), false},
		"KILL for the thread":             {status(bit(syscall.SIGKILL), 0, 0, 0, 0), true},
		"KILL for all":                    {status(0, bit(syscall.SIGKILL), 0, 0, 0), true},
		"a timer":                         {status(0, bit(syscall.SIGALRM), 0, 0, bit(syscall.SIGALRM)), false},
		"a caught INT":                    {status(0, bit(syscall.SIGINT), 0, 0, bit(syscall.SIGINT)), false},
		"QUIT":                            {status(0, bit(syscall.SIGQUIT), 0, 0, 0), true},
		"a blocked QUIT":                  {status(0, bit(syscall.SIGQUIT), bit(syscall.SIGQUIT), 0, 0), false},
		"an ignored QUIT":                 {status(0, bit(syscall.SIGQUIT), 0, bit(syscall.SIGQUIT), 0), false},
		"ABRT, of abort(3) or a watchdog": {status(0, bit(syscall.SIGABRT), 0, 0, 0), true},
		"a caught ABRT":                   {status(0, bit(syscall.SIGABRT), 0, 0, bit(syscall.SIGABRT)), false},
		"XCPU":                            {status(bit(syscall.SIGXCPU), 0, 0, 0, 0), true},
		"no status":                       {nil, false},
	} {
		if got := fatalPending(c.status); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestFatalSignalEndsReader: "A signal that ends a program ends its wait for a
// registry at once."
func TestFatalSignalEndsReader(t *testing.T) {
	m := mountRegistry(t, Options{})
	// Whoever was started by nohup(1), or in the background of a shell script, has programs
	// ignore these, unless he handles them.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGHUP, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(handled) })
	for i, fatal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGXCPU, syscall.SIGKILL} {
		t.Run(fatal.String(), func(t *testing.T) {
			// An image each: the download of the one before is still waiting, and
			// would serve this reader too.
			repository := fmt.Sprint("a", i)
			waiting := make(chan struct{}, 100)
			m.registry.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
				if req.Repository == repository {
					waiting <- struct{}{}
				}
				m.registry.Silent()(w, r, req, next)
			}))
			m.registry.Push(t, repository, "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}, Seed: uint64(i)}))
			c := exec.Command("cp", m.repository(repository)+"/tags/1/image.tar", t.TempDir())
			var said bytes.Buffer
			c.Stderr = &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			select {
			case <-waiting: // cp hangs in read(2) now, or is about to
			case err := <-ended:
				t.Fatalf("cp has not asked for anything: %v, %s%s", err, &said, m.errors(t))
			}
			began := time.Now()
			if err := c.Process.Signal(fatal); err != nil {
				t.Fatal(err)
			}
			err := <-ended
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != fatal {
				t.Errorf("cp ended with %v, want %v: %s%s", err, fatal, &said, m.errors(t))
			}
			// The limit is generous for a busy machine; a reader that ignores signals
			// would wait for half a minute.
			took := time.Since(began)
			t.Logf("cp was gone after %v", took)
			if took > 5*time.Second {
				t.Error("that is not at once")
			}
		})
	}
}

// announce says on a channel that a request has come, and then does as f.
func announce(came chan<- struct{}, f registrytest.Fault) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		came <- struct{}{}
		f(w, r, req, next)
	}
}

// TestTimerDisturbsNobody: "A signal that a program handles never makes a read
// fail." The program has one every 50 ms while it reads from a slow registry.
func TestTimerDisturbsNobody(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{200_000}}))
	m.registry.Break(registrytest.Only(registrytest.Blob, m.registry.Trickle(20_000, 100*time.Millisecond)))
	tar := m.repository("a") + "/tags/1/image.tar"
	size := strings.TrimSpace(run(t, "stat", "-c", "%s", tar))
	if got := reader(t, readSignalled, tar); got != size+" bytes\n" {
		t.Errorf("the reader got %q, want %s bytes", got, size)
	}
}

// TestOperationTimeout: "No operation takes longer than a minute." Here
// it is less.
func TestOperationTimeout(t *testing.T) {
	m := mountRegistry(t, Options{OpTimeout: 50 * time.Millisecond})
	m.registry.Break(registrytest.Only(registrytest.Manifest, m.registry.Silent()))
	out, err := try(t, "cat", m.repository("a")+"/tags/1/digest")
	if err == nil || !strings.Contains(out, "Connection timed out") {
		t.Errorf("cat: %v, %q; want: Connection timed out", err, out)
	}
	if got := m.errors(t); !strings.Contains(got, "ETIMEDOUT") {
		t.Errorf("errors: %q, want ETIMEDOUT", got)
	}
}

// TestSilentRegistryStopsNobody: "A registry that is silent slows no other." Far
// more readers wait for one than the kernel has readers at once by default.
func TestSilentRegistryStopsNobody(t *testing.T) {
	m := mountRegistry(t, Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}})
	for i := range 20 {
		m.registry.Push(t, fmt.Sprint("silent", i), "1", image)
	}
	m.registry.Push(t, "good", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}, Seed: 1}))
	waiting := make(chan struct{}, 1000)
	silent := announce(waiting, m.registry.Silent())
	m.registry.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if strings.HasPrefix(req.Repository, "silent") {
			silent(w, r, req, next)
			return
		}
		next(w, r)
	}))
	for i := range 20 {
		c := exec.Command("cat", m.repository(fmt.Sprint("silent", i))+"/tags/1/digest")
		c.Stdout, c.Stderr = io.Discard, io.Discard
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() }) // it waits for ever
	}
	for range 20 {
		<-waiting
	}
	run(t, "cp", m.repository("good")+"/tags/1/image.tar", t.TempDir())
}
