// Package bench runs ocidistfs in turn with the programs that people pull
// images with, and with plain files, and prints what each took. It asserts no
// time, only that what came out is right. It is no part of make test: make bench
// installs the programs and runs it.
package bench

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/internal/remains"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// measured is what TestBench found.
var measured table

// TestBench has a subtest for each comparison.
func TestBench(t *testing.T) {
	gate.Suite(t, enabledVariable)
	o, err := parseOptions(os.Getenv)
	switch {
	case err != nil:
		t.Fatal(err)
	case runtime.GOOS != "linux":
		t.Skip("it reads /proc")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Fatalf("file systems cannot be mounted: %v", err)
	}
	// An interrupt ends what runs, and the rest is as after a failure.
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	measured.load = load()
	b := newBench(ctx, t, o)
	for _, c := range comparisons() {
		t.Run(c.name, func(t *testing.T) {
			switch {
			case !o.rows.MatchString(c.name):
				t.SkipNow()
			case o.smoke && (c.large || len(c.needs) > 0):
				t.Skip("no part of the smoke test")
			case c.root && os.Geteuid() != 0:
				t.Skip("it takes root")
			}
			c.test(ctx, t, b)
		})
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	measured.publish(t, o)
}

// A bench is what all comparisons work with.
type bench struct {
	options
	dir      string // everything that is made for a run is below
	program  string // ours
	registry *distributiontest.Server
	loopback *network
	shaped   *network

	bigConfig   string          // the digest of the big image's config
	pushed      map[string]bool // the repositories of images that several comparisons have
	filesystems []string        // that are mounted now, for what runs
}

// A network is a way to the registry.
type network struct {
	host   string
	shaper *shaper // nil is none
}

// slow is a registry far away: a round trip of 40 ms, and 25 MB/s a connection.
var slow = shape{latency: 40 * time.Millisecond, rate: 25e6}

// The images. All are on both networks.
const (
	bigRepository, bigTag = "bench/big", "1"
	multiTag              = "multi" // an index, with the big image for this machine
)

// debianPath comes before the rest of PATH: what Debian has is meant, not what
// was installed beside it.
const debianPath = "/usr/sbin:/usr/bin:/sbin:/bin:"

// newBench starts a registry, with the big image, and the networks.
func newBench(ctx context.Context, t *testing.T, o options) *bench {
	t.Helper()
	t.Setenv("PATH", debianPath+os.Getenv("PATH"))
	// Short: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // other users get to their homes
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	remains.Check(t, dir)
	b := &bench{options: o, dir: dir, program: filepath.Join(dir, "bin", "ocidistfs"), pushed: map[string]bool{}}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.program, "../../cmd/ocidistfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	b.registry = distributiontest.Start(t, distributiontest.Open)
	b.loopback = &network{host: b.registry.Host}
	shaper := startShaper(t, b.registry.Host, slow)
	b.shaped = &network{host: shaper.host, shaper: shaper}
	layers := makeLayers(t, mixedLayers(1, o.size))
	big := imageOf(t, runtime.GOARCH, layers)
	b.put(t, bigRepository, layers)
	b.registry.Push(t, bigRepository, bigTag, big)
	b.registry.PushIndex(t, bigRepository, multiTag, registrytest.Index(t, imageOf(t, "riscv64", layers[:1]), big))
	config, err := big.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	b.bigConfig = config.String()
	return b
}

// put gives a repository layers, and reads them: the registry is to have them in
// memory, whoever asks first.
func (b *bench) put(t *testing.T, repository string, layers []stored) {
	t.Helper()
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		b.registry.PutBlob(t, repository, d, l.path)
		readFile(t, l.path)
	}
}

// home makes a directory for a program to keep its things in.
func (b *bench) home(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(b.dir, name)
	for _, d := range []string{dir, filepath.Join(dir, "tmp")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// measure runs commands at once, after all that was written before is on disk. The
// mount that they read, if there is one, is measured with them.
func (b *bench) measure(ctx context.Context, t *testing.T, n *network, m *mounted, commands ...command) sample {
	t.Helper()
	command{home: b.dir, args: append([]string{"sync", "--file-system", b.dir}, b.filesystems...)}.must(ctx, t)
	var s sample
	mark := b.registry.Mark(t)
	if n.shaper != nil {
		s.bytes = -n.shaper.carried.Load()
	}
	if m != nil {
		s.cpu = -processorTime(m.pid)
	}
	took := runAtOnce(ctx, t, commands)
	for _, f := range took {
		s.wall = max(s.wall, f.wall)
		s.cpu += f.cpu
		s.memory += f.memory
	}
	if m != nil {
		s.cpu += processorTime(m.pid)
		s.memory = peakMemory(m.pid)
	}
	s.note = spread(took)
	for _, r := range b.registry.Since(t, mark) {
		s.requests = append(s.requests, r)
		if n.shaper == nil {
			s.bytes += r.Sent
		}
	}
	if n.shaper != nil {
		s.bytes += n.shaper.carried.Load()
	}
	return s
}
