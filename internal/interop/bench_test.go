package interop

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/internal/remains"
)

// A bench is what all loaders work with: a registry with images, and mounts of
// it.
type bench struct {
	dir      string // everything that the test makes is below
	program  string // ocidistfs
	registry *distributiontest.Server
	images   []*image
}

// debianPath comes before the rest of PATH: what Debian has is meant, not what
// was installed beside it.
const debianPath = "/usr/sbin:/usr/bin:/sbin:/bin:"

// newBench starts a registry, pushes the images and mounts it twice: as it is,
// and through a proxy that takes it for docker.io.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := bareBench(t)
	b.images = makeImages(t, b.registry, b.build(t, "line", "./testdata/line"))
	direct := b.mount(t, "mounted")
	proxied := b.mount(t, "mounted-hub", "--proxy", startProxy(t, b.registry.Host), "--insecure", dockerHub)
	for _, im := range b.images {
		root := direct
		if im.host == dockerHub {
			root = proxied
		}
		im.dir = filepath.Join(root, im.host, im.repository, im.below)
		if _, err := os.Stat(im.tar()); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// bareBench has a registry without images, and no mount.
func bareBench(t *testing.T) *bench {
	t.Helper()
	t.Setenv("PATH", debianPath+os.Getenv("PATH"))
	// Short: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b := &bench{dir: dir}
	remains.Check(t, dir, "/run/netns", "/run/containerd", "/run/docker", "/run/containers", "/run/libpod", "/var/lib")
	b.program = b.build(t, "ocidistfs", "../../cmd/ocidistfs")
	b.registry = distributiontest.Start(t, distributiontest.Open)
	return b
}

// build compiles a static program.
func (b *bench) build(t *testing.T, name, source string) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", source, err, out)
	}
	return path
}

// mount mounts, with a cache of its own, and returns the mountpoint.
func (b *bench) mount(t *testing.T, name string, flags ...string) string {
	t.Helper()
	home := b.home(t, name)
	dir := filepath.Join(home, "reg")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := command{home: home, args: append([]string{b.program, "mount", "--anonymous", "--cache-dir", filepath.Join(home, "cache")}, append(flags, dir)...)}
	c.must(t)
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(dir, ".ocidistfs", "errors")); t.Failed() && err == nil {
			t.Logf("what failed on the mount:\n%s", text)
		}
		if _, err := (command{home: home, args: []string{b.program, "unmount", dir}}).run(t); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// home makes a directory for a program to keep its things in.
func (b *bench) home(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(b.dir, strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ()<:", r) {
			return '-' // some take these for more than a name
		}
		return r
	}, name))
	for _, d := range []string{dir, filepath.Join(dir, "tmp")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startProxy starts a proxy that takes every host for one, and returns its
// address. It has no TLS to offer for a host that is not its own.
func startProxy(t *testing.T, host string) string {
	t.Helper()
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host = host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			http.Error(w, "no TLS here", http.StatusBadGateway)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
