//go:build linux

package fs

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestErrnoOfTools has each errno of the table in docs/semantics.md made by a
// registry, and met by those who use files: what they print is what a person
// reads.
func TestErrnoOfTools(t *testing.T) {
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{300_000}})
	secure := registrytest.Start(t, registrytest.Options{TLS: true})
	abort := func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
		panic(http.ErrAbortHandler)
	}
	refuse := func(status int) func(*mounted) {
		return func(m *mounted) {
			for _, kind := range []registrytest.Kind{registrytest.Manifest, registrytest.Tags} {
				m.registry.Break(registrytest.Only(kind, registrytest.Refuse(status, "TESTED", "as the test wants")))
			}
		}
	}
	// To glibc a listing that fails with ENOENT has just ended: of 404 ls says nothing.
	for name, c := range map[string]struct {
		opts   Options
		tree   func(*tree.Options)
		fault  func(*mounted)
		of     string // tools: cat and cp of a file below tags/1, ls of tags
		want   string
		errors string // what .ocidistfs/errors has; "" is nothing
	}{
		"not found":         {fault: refuse(404), of: "cat cp", want: "No such file or directory"},
		"who are you":       {fault: refuse(401), of: "cat cp ls", want: "Permission denied", errors: "EACCES"},
		"not for you":       {fault: refuse(403), of: "cat cp ls", want: "Permission denied", errors: "EACCES"},
		"too many requests": {fault: refuse(429), of: "cat cp ls", want: "Resource temporarily unavailable", errors: "EAGAIN"},
		"a failure":         {fault: refuse(500), of: "cat cp ls", want: "Remote I/O error", errors: "EREMOTEIO"},
		"a bad request":     {fault: refuse(400), of: "cat cp ls", want: "Protocol error", errors: "EPROTO"},
		"another digest":    {fault: func(m *mounted) { m.registry.Break(registrytest.Only(registrytest.Blob, registrytest.FlipAt(9))) }, of: "cat-tar cp-tar", want: "Bad message", errors: "EBADMSG"},
		"a dropped call": {fault: func(m *mounted) {
			m.registry.Break(registrytest.Only(registrytest.Manifest, abort))
			m.registry.Break(registrytest.Only(registrytest.Tags, abort))
		}, of: "cat cp ls", want: "Input/output error", errors: "EIO"},
		"silence":            {opts: Options{OpTimeout: 300 * time.Millisecond}, fault: func(m *mounted) { m.registry.Break(m.registry.Silent()) }, of: "cat cp ls", want: "Connection timed out", errors: "ETIMEDOUT"},
		"offline":            {tree: func(o *tree.Options) { o.Offline = true }, of: "cat cp ls", want: "Network is unreachable", errors: "ENETUNREACH"},
		"nobody listens":     {of: "cat@127.0.0.1:1 cp@127.0.0.1:1 ls@127.0.0.1:1", want: "Connection refused", errors: "ECONNREFUSED"},
		"no such host":       {of: "cat@host.onion cp@host.onion ls@host.onion", want: "No route to host", errors: "EHOSTUNREACH"}, // RFC 7686: not asked of the network
		"not trusted":        {of: "cat@" + secure.Host() + " cp@" + secure.Host() + " ls@" + secure.Host(), want: "Protocol error", errors: "EPROTO"},
		"a manifest as none": {fault: func(m *mounted) { m.registry.PutManifest("a", "1", types.OCIManifestSchema1, make([]byte, 9<<20)) }, of: "cat cp", want: "File too large", errors: "EFBIG"},
		"a change":           {of: "rm touch mkdir", want: "Read-only file system"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.tree == nil {
				c.tree = func(*tree.Options) {}
			}
			m := mountWith(t, c.opts, c.tree)
			m.registry.Push(t, "a", "1", image)
			if c.fault != nil {
				c.fault(m)
			}
			for tool := range strings.FieldsSeq(c.of) {
				tool, host, elsewhere := strings.Cut(tool, "@")
				tags := m.repository("a") + "/tags"
				if elsewhere {
					tags = filepath.Join(m.dir, host, "a/tags")
				}
				to := filepath.Join(t.TempDir(), "copy")
				command := map[string][]string{
					"cat": {"cat", tags + "/1/digest"}, "cp": {"cp", tags + "/1/manifest.json", to}, "ls": {"ls", tags},
					"cat-tar": {"cat", tags + "/1/image.tar"}, "cp-tar": {"cp", tags + "/1/image.tar", to},
					"rm": {"rm", "-f", tags + "/1/digest"}, "touch": {"touch", tags + "/1/digest"}, "mkdir": {"mkdir", tags + "/new"},
				}[tool]
				out, err := try(t, command[0], command[1:]...)
				out = out[max(0, len(out)-300):] // of the file itself nobody wants to see more
				if err == nil || !strings.Contains(out, ": "+c.want+"\n") {
					t.Errorf("%s: %v, %q; want: %s", tool, err, out, c.want)
				}
			}
			if got := m.errors(t); c.errors == "" && got != "" || !strings.Contains(got, "\t"+c.errors+"\t") && c.errors != "" {
				t.Errorf("errors: %q, want %s", got, c.errors)
			}
		})
	}
}

// TestCrawlerGetsNothingNew runs a program whose name is that of one that indexes
// file systems: the mount knows who asks.
func TestCrawlerGetsNothingNew(t *testing.T) {
	m := mountWith(t, Options{}, func(o *tree.Options) { o.Pace = 10 })
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	program, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	updatedb := filepath.Join(t.TempDir(), "updatedb")
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(updatedb, b, 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	digest := m.repository("a") + "/tags/1/digest"
	if out, err := try(t, updatedb, digest); err == nil || !strings.Contains(out, "Permission denied") {
		t.Fatalf("%v, %q; want: Permission denied", err, out)
	}
	if n := len(m.registry.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
	if got := m.errors(t); !strings.Contains(got, "indexes file systems") || strings.Count(got, "\n") != 1 {
		t.Errorf("errors: %q", got)
	}
	want := run(t, "cat", digest)
	if got := run(t, updatedb, digest); got != want {
		t.Errorf("what is known: %q, want %q", got, want)
	}
}

// TestPaceKnowsItsCaller: each program has a bucket of its own, and all its
// threads share that.
func TestPaceKnowsItsCaller(t *testing.T) {
	var log lockedBuffer
	m := mountWith(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(o *tree.Options) { o.Pace = 40 })
	d := m.registry.Push(t, "a", "0", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	for i := range 400 {
		m.registry.Tag("a", fmt.Sprint(i), d)
	}
	tags := m.repository("a") + "/tags/"
	for from := 0; from < 120; from += 40 {
		var some []string
		for i := range 40 {
			some = append(some, tags+fmt.Sprint(from+i)+"/digest")
		}
		run(t, "cat", some...)
	}
	if got := log.String(); strings.Contains(got, "held back") {
		t.Errorf("programs that ask for forty each are held back: %s", got)
	}
	var many []string
	for i := 200; i < 320; i++ {
		many = append(many, tags+fmt.Sprint(i)+"/digest")
	}
	run(t, "cat", many...)
	if got := log.String(); strings.Count(got, "held back") != 1 || !strings.Contains(got, "name=cat") {
		t.Errorf("one that asks for more than a hundred: %s", got)
	}
}
