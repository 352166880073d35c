//go:build linux

package fs

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// mounted is a mount of a registry in memory, served by the test.
type mounted struct {
	dir      string // where
	registry *registrytest.Server
	store    *cache.Store
	server   *Server
	clock    *clock
}

// clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// mountRegistry mounts an empty registry. The mount ends with the test.
func mountRegistry(t testing.TB, opts Options) *mounted {
	t.Helper()
	return mountFor(t, opts, time.Minute)
}

// mountFor does the same with another TTL of tags and lists.
func mountFor(t testing.TB, opts Options, ttl time.Duration) *mounted {
	t.Helper()
	return mountWith(t, opts, func(o *tree.Options) { o.TagTTL, o.ListTTL = ttl, ttl })
}

// settle waits until nothing is downloaded any more, such as what the kernel asked
// for ahead of a reader who has left.
func (m *mounted) settle(t testing.TB) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for m.store.Stats().Active > 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("downloads under way to the end")
		}
	}
}

// mountWith does, with another tree.
func mountWith(t testing.TB, opts Options, change func(*tree.Options)) *mounted {
	t.Helper()
	m := &mounted{registry: registrytest.Start(t, registrytest.Options{}), clock: &clock{}}
	client := registry.NewClient(registry.Options{Keychain: registry.Anonymous()})
	t.Cleanup(client.Close)
	var err error
	if m.store, err = cache.Open(t.TempDir(), cache.Options{Now: m.clock.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.store.Close() })
	if opts.Errors == nil {
		opts.Errors = NewErrorLog(nil)
	}
	treeOptions := tree.Options{
		Client: client, Store: m.store, TagTTL: time.Minute, ListTTL: time.Minute,
		Now: m.clock.now, Logger: opts.Logger, Report: opts.Errors.Add,
	}
	change(&treeOptions)
	if treeOptions.Store != m.store { // the test has one of its own
		_ = m.store.Close() // nothing is in it
		m.store = treeOptions.Store
	}
	shown := tree.New(treeOptions)
	t.Cleanup(shown.Close)
	m.dir, m.server = mountTree(t, shown.Root(), opts)
	return m
}

// mountTree mounts a tree. The mount ends with the test.
func mountTree(t testing.TB, root tree.Dir, opts Options) (string, *Server) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if err := Check(dir, opts.AllowOther, ""); err != nil {
		t.Fatal(err)
	}
	server, err := Mount(dir, root, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return dir, server
}

// repository is the path of a repository in the mount.
func (m *mounted) repository(name string) string {
	return filepath.Join(m.dir, m.registry.Host(), name)
}

// errors is what .ocidistfs/errors says.
func (m *mounted) errors(t testing.TB) string {
	t.Helper()
	return run(t, "cat", filepath.Join(m.dir, ".ocidistfs", "errors"))
}

// run runs a command that must succeed and returns what it writes.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// commandLimit ends a command that hangs.
const commandLimit = 30 * time.Second

// try runs a command. Programs touch the mount in the tests, as those that use it
// do, not the process that serves it.
func try(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	var out bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}
