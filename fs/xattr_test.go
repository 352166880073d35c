//go:build linux

package fs

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestLastError: "What failed has its reason in the attribute user.oci.last_error,
// the same as in .ocidistfs/errors and the log."
func TestLastError(t *testing.T) {
	var log lockedBuffer
	m := mountRegistry(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000}}))
	image := m.repository("a") + "/tags/1"
	attributes := func(path string) []string {
		t.Helper()
		return strings.Split(strings.TrimSuffix(reader(t, readAttributes, path), "\n"), "\n")
	}
	for _, path := range []string{m.dir, image, image + "/image.tar", m.dir + "/.ocidistfs"} {
		if got := attributes(path); len(got) != 1 || got[0] != `""` {
			t.Errorf("%s, of which nothing failed, has %q", path, got)
		}
	}
	m.registry.Break(registrytest.Refuse(503, "UNAVAILABLE", "down for cleaning"))
	m.registry.Forget()
	for file, at := range map[string]string{
		image + "/image.tar": image + "/image.tar",
		// What cannot be looked up has no attributes: its directory tells.
		m.repository("b") + "/tags/1":                                    m.repository("b") + "/tags",
		m.repository("c") + "/tags/1/digest":                             m.repository("c") + "/tags",
		m.repository("d") + "/digests/sha256:" + strings.Repeat("1", 64): m.repository("d") + "/digests",
	} {
		out, err := try(t, "cat", file)
		if err == nil || !strings.Contains(out, "Remote I/O error") {
			t.Fatalf("cat %s: %v, %q", file, err, out)
		}
		m.settle(t)
		asked := len(m.registry.Requests())
		got := attributes(at)
		if n := len(m.registry.Requests()); n != asked {
			t.Errorf("%s: its attributes cost %d requests", at, n-asked)
		}
		if len(got) != 2 || got[0] != `"user.oci.last_error\x00"` {
			t.Fatalf("%s: attributes %q", at, got)
		}
		fields := strings.Split(got[1], "\t")
		if len(fields) != 4 || fields[2] != "EREMOTEIO" || !strings.Contains(fields[3], "down for cleaning") {
			t.Fatalf("%s: last error %q", at, got[1])
		}
		if !strings.Contains("\n"+m.errors(t), "\n"+got[1]+"\n") {
			t.Errorf("%s: the last error %q is not in the errors %q", at, got[1], m.errors(t))
		}
		said, _, _ := strings.Cut(fields[3], " (") // how often
		path, err := filepath.Rel(m.dir, file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(path, fields[1]) {
			t.Errorf("%s: the last error is about %s", path, fields[1])
		}
		line := "path=" + fields[1] + " errno=\"remote I/O error\" error=\"" + said
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log has no %s:\n%s", line, &log)
		}
	}
	if got := attributes(m.dir); got[0] != `""` {
		t.Errorf("the root has %q", got)
	}
}
