// Package mounted shows the merged file systems of images that a test makes, on a
// mount of the real program. Its own tests hold them to what others make of the
// same layers: containerd on overlayfs, the suite of its snapshotters, diff and find.
package mounted

import (
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

	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/internal/layers"
	"github.com/ocidistfs/ocidistfs/internal/remains"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// Suite is the variable that make rootfs sets, to anything, and make rootfs-smoke to the
// word smoke.
const Suite = "OCIDISTFS_ROOTFS"

// Smoke says whether the short form was asked for.
func Smoke() bool { return os.Getenv(Suite) == "smoke" }

// A Mount is a mount of the program's, in a process of its own, and the registry that it
// shows. It is for one goroutine.
type Mount struct {
	// Dir is where a test may put files; they go when it ends.
	Dir      string
	Registry *registrytest.Server

	root   string
	images int
}

const (
	// stopLimit is how long a mount may take to come or to go.
	stopLimit = 30 * time.Second
	// pause is between two looks.
	pause = 2 * time.Millisecond
	// lastWords is how much of a log is shown after a failure, in bytes.
	lastWords = 4000
)

// Start mounts an empty registry until the end of the test, with an empty cache. module
// is the directory of go.mod.
func Start(t testing.TB, module string, flags ...string) *Mount {
	t.Helper()
	gate.Suite(t, Suite)
	gate.Mounts(t)
	dir, err := os.MkdirTemp("", "rootfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	remains.Check(t, dir)
	m := &Mount{Dir: dir, Registry: registrytest.Start(t, registrytest.Options{}), root: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(m.root, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "ocidistfs")
	build := exec.CommandContext(t.Context(), "go", "-C", module, "build", "-o", program, "./cmd/ocidistfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	args := []string{"mount", "--foreground", "--anonymous", "--platform", "linux/amd64", "--cache-dir", filepath.Join(dir, "cache"), "--log-level", "warn"}
	m.start(t, exec.CommandContext(context.WithoutCancel(t.Context()), program, append(append(args, flags...), m.root)...))
	return m
}

// start starts the process, which ends with the test, and waits until it is there.
func (m *Mount) start(t testing.TB, c *exec.Cmd) {
	t.Helper()
	log, err := os.Create(filepath.Join(m.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.Dir, "LC_ALL=C"} // nothing of the user's
	c.Dir, c.Stdout, c.Stderr = "/", log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which ends it
	err = c.Start()
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // how it ended is in the log
		close(ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // or it has ended
		select {
		case <-ended:
		case <-time.After(stopLimit):
			t.Error("the process of the mount does not end")
			_ = c.Process.Kill() // or it has just ended
			<-ended
		}
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the process of the mount said:\n%s", text[max(0, len(text)-lastWords):])
		}
	})
	for deadline := time.Now().Add(stopLimit); !m.answers(); {
		select {
		case <-ended:
			t.Fatal("the process of the mount has ended")
		case <-time.After(pause):
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no mount")
		}
	}
}

func (m *Mount) answers() bool {
	_, err := os.Stat(filepath.Join(m.root, ".ocidistfs", "status.json"))
	return err == nil
}

// Image pushes an image of layers, the lowest first, and returns where its merged file
// system is.
func (m *Mount) Image(stored ...layers.Layer) (string, error) {
	m.images++
	repository, tag := fmt.Sprint("images/", m.images), "1.0"
	_, err := layers.Push(m.Registry, repository, tag, stored)
	return filepath.Join(m.root, m.Registry.Host(), repository, "tags", tag, "rootfs"), err
}

// Unpack is internal/unpack, compiled into Go's build cache.
func Unpack(t testing.TB, module string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(module, "internal/unpack"), "tool", "-n", "unpack")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said strings.Builder
	c.Stderr = &said
	path, err := c.Output()
	if err != nil {
		t.Fatalf("build internal/unpack: %v\n%s", err, &said)
	}
	return strings.TrimSpace(string(path))
}
