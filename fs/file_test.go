//go:build linux

package fs

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestReadAnywhere: "Any range of image.tar is what a copy of it has there."
func TestReadAnywhere(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{700_000, 3 << 20, 100}}))
	path := m.repository("a") + "/tags/1/image.tar"
	copied := filepath.Join(t.TempDir(), "copy")
	reader(t, readAnywhere, path, copied)
	run(t, "cmp", path, copied)

	// Byte by byte, which is slow: a small one.
	m.registry.Push(t, "a", "2", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100, 2000}}))
	reader(t, readBytes, m.repository("a")+"/tags/2/image.tar")
}

// TestFlippedByte: "A blob that is not what its digest says never reaches its
// reader whole, however often it is read."
func TestFlippedByte(t *testing.T) {
	m := mountRegistry(t, Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{2 << 20}})
	m.registry.Push(t, "a", "1", image)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	flip := registrytest.FlipAt(10)
	m.registry.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if strings.HasSuffix(r.URL.Path, layer.String()) {
			flip(w, r, req, next)
			return
		}
		next(w, r)
	})
	path := m.repository("a") + "/tags/1/image.tar"
	size, err := strconv.ParseInt(strings.TrimSpace(run(t, "stat", "-c", "%s", path)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		copied := filepath.Join(t.TempDir(), "copy")
		out, err := try(t, "cp", path, copied)
		if err == nil || !strings.Contains(out, "Bad message") {
			t.Fatalf("cp: %v, %q; want: Bad message", err, out)
		}
		info, err := os.Stat(copied)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= size {
			t.Errorf("the copy has %d bytes of %d", info.Size(), size)
		}
		m.clock.forward(2 * time.Second)
	}
	if got := m.errors(t); !strings.Contains(got, "EBADMSG") || !strings.Contains(got, "does not match its digest") {
		t.Errorf("errors: %q", got)
	}
	// The registry mends its ways. What the kernel has asked for ahead of the last reader may
	// have been on its way before that: it is dropped as the rest was, and asked for anew.
	m.registry.Heal()
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := try(t, "cp", path, copied); err != nil {
		m.clock.forward(2 * time.Second)
		run(t, "cp", path, copied)
	}
	run(t, "cmp", path, copied)
}

// A registry that closes the connection ends no file, and is named.
func TestClosedConnection(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}}))
	m.registry.Break(registrytest.Only(registrytest.Blob, func(http.ResponseWriter, *http.Request, registrytest.Request, http.HandlerFunc) {
		panic(http.ErrAbortHandler)
	}))
	out, err := try(t, "cat", m.repository("a")+"/tags/1/image.tar")
	if err == nil || !strings.Contains(out, "Input/output error") {
		t.Errorf("cat: %v; %d bytes", err, len(out))
	}
	if got := m.errors(t); !strings.Contains(got, "get blob "+m.registry.Host()+"/a@sha256:") {
		t.Errorf("errors: %q", got)
	}
}

// TestFailures: "A failure is never taken for absence." Each has its errno, and
// its reason where it can be found.
func TestFailures(t *testing.T) {
	m := mountRegistry(t, Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000}})
	for status, want := range map[int]string{
		401: "Permission denied", 403: "Permission denied", 404: "No such file or directory",
		429: "Resource temporarily unavailable", 500: "Remote I/O error", 503: "Remote I/O error",
	} {
		name := fmt.Sprint("status", status)
		m.registry.Push(t, name, "1", image)
		m.registry.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(status, "DENIED", "because of "+name)))
		digest := m.repository(name) + "/tags/1/digest"
		if out, err := try(t, "cat", digest); err == nil || !strings.Contains(out, want) {
			t.Errorf("%d: %v, %q; want: %s", status, err, out, want)
		}
		if got := strings.Contains(m.errors(t), "because of "+name); got != (status != 404) {
			t.Errorf("%d: the reason is in the errors: %t", status, got)
		}
		m.registry.Heal()
		m.clock.forward(10 * time.Second)
		// The kernel remembers what it was told does not exist for a second more.
		for deadline := time.Now().Add(commandLimit); status == 404 && time.Now().Before(deadline); {
			if _, err := try(t, "stat", digest); err == nil {
				break
			}
		}
		run(t, "cat", digest)
	}
}

// TestVerifiedStaysInPageCache: "What is verified is read from the cache once,
// and by the kernel from its memory from then on."
func TestVerifiedStaysInPageCache(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{2 << 20}}))
	path := m.repository("a") + "/tags/1/image.tar"
	run(t, "cat", path) // fetches and verifies
	run(t, "cat", path) // fills the page cache
	before := m.store.Stats().Read
	run(t, "cat", path)
	if n := m.store.Stats().Read - before; n != 0 {
		t.Errorf("the third pass read %d bytes", n)
	}
}

// TestMapped: a program may map a file, whether it is verified or not.
func TestMapped(t *testing.T) {
	m := mountRegistry(t, Options{})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{300_000}}))
	path := m.repository("a") + "/tags/1/image.tar"
	for _, when := range []string{"cold", "verified"} {
		if got := reader(t, readMapped, path); got != "oci-layout" {
			t.Errorf("%s: it begins with %q", when, got)
		}
		run(t, "cat", path)
	}
}

// TestMovedTag: "An open file keeps the bytes that it was opened on; a new open
// after the TTL has the new ones."
func TestMovedTag(t *testing.T) {
	const ttl = 300 * time.Millisecond // by the kernel's clock too, which no test moves
	m := mountFor(t, Options{}, ttl)
	layers := []int64{1 << 20}
	old := registrytest.Image(t, registrytest.ImageSpec{Layers: layers})
	first := m.registry.Push(t, "a", "1", old)
	tag := m.repository("a") + "/tags/1"
	read := func(name string) string { return run(t, "cat", tag+"/"+name) }
	oldTar := filepath.Join(t.TempDir(), "old")
	run(t, "cp", m.repository("a")+"/tags/1@"+first.String()+"/image.tar", oldTar)

	opened := filepath.Join(t.TempDir(), "opened")
	goOn := startHalves(t, tag+"/image.tar", opened)
	second := m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: layers, Seed: 9}))
	for deadline := time.Now().Add(commandLimit); ; {
		got := read("digest")
		if got == second.String()+"\n" {
			break
		}
		if got != first.String()+"\n" || time.Now().After(deadline) {
			t.Fatalf("the digest is %q, neither %s nor, at last, %s", got, first, second)
		}
	}
	goOn()
	run(t, "cmp", opened, oldTar)
	names := run(t, "tar", "tf", tag+"/image.tar")
	if !strings.Contains(names, second.Hex) || strings.Contains(names, first.Hex) {
		t.Errorf("after the TTL image.tar holds %s", names)
	}
}

// startHalves starts a process that reads half of a file, and returns when it
// has. goOn lets it read the rest and waits for its end.
func startHalves(t *testing.T, path, to string) (goOn func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, path, to)
	c.Env = append(os.Environ(), readerVariable+"="+readHalves)
	c.Stderr = t.Output()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // it ends by itself if all is well
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "half\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return func() {
		t.Helper()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
}
