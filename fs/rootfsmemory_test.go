//go:build linux

package fs

import (
	"archive/tar"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A lookedUp asks a file system as a kernel does, without one.
type lookedUp struct {
	t   testing.TB
	raw *kernel
}

// look looks a name up; what comes of it is to be forgotten.
func (l lookedUp) look(dir uint64, name string) uint64 {
	var out fuse.EntryOut
	if status := l.raw.Lookup(nil, &fuse.InHeader{NodeId: dir}, name, &out); status != fuse.OK || out.NodeId == 0 {
		l.t.Fatalf("look up %s: %v", name, status)
	}
	return out.NodeId
}

// inUse is what the process has of memory that it uses, in bytes.
func inUse() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys - m.HeapReleased)
}

// fileName is the name of a file of [lookUpImages].
func fileName(i int) string { return fmt.Sprintf("file%07d", i) }

// lookUpImages looks up the directories of so many images that have as many files in them, the
// same ones, which are as many inodes each.
func lookUpImages(t testing.TB, files, images int) (kernel lookedUp, dirs []uint64) {
	t.Helper()
	server := registrytest.Start(t, registrytest.Options{})
	client := registry.NewClient(registry.Options{Keychain: registry.Anonymous()})
	t.Cleanup(client.Close)
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	shown := tree.New(tree.Options{Client: client, Store: store, TagTTL: time.Hour, ListTTL: time.Hour})
	t.Cleanup(shown.Close)
	func() {
		members := []registrytest.Member{{Header: tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755}}}
		for i := range files {
			members = append(members, registrytest.Regular("d/"+fileName(i), ""))
		}
		layer := registrytest.Gzipped(t, registrytest.Archive(t, members...))
		for i := range images {
			server.Push(t, fmt.Sprintf("app%d", i), "1", registrytest.ImageOf(t, layer))
		}
	}()
	m := &mount{opts: Options{OpTimeout: time.Minute}, errors: NewErrorLog(nil), opens: newOpens(), inners: newInners(), crowd: newCrowd()}
	kernel = lookedUp{t, newKernel(m, m.wrap(root{shown.Root(), newStatusDir(m)}), &fusefs.Options{})}
	for i := range images {
		repo := kernel.look(kernel.look(fuse.FUSE_ROOT_ID, server.Host()), fmt.Sprintf("app%d", i))
		image, err := shown.Image(t.Context(), registry.Reference{Host: server.Host(), Repository: fmt.Sprintf("app%d", i), Tag: "1"})
		if err != nil {
			t.Fatal(err)
		}
		at := kernel.look(kernel.look(repo, "digests"), image.Manifest().Digest.String())
		dirs = append(dirs, kernel.look(kernel.look(at, ".rootfs"), "d"))
	}
	return kernel, dirs
}

// TestRootfsMemory: what the kernel has looked up takes little, and nothing when it is
// forgotten.
func TestRootfsMemory(t *testing.T) {
	files, images := 20_000, 5
	if n, err := strconv.Atoi(os.Getenv("OCIDISTFS_TEST_ENTRIES")); err == nil {
		files = n / images
	}
	kernel, dirs := lookUpImages(t, files, images)
	before := inUse()
	var nodes []uint64
	for _, dir := range dirs {
		for i := range files {
			nodes = append(nodes, kernel.look(dir, fileName(i)))
		}
	}
	held := inUse() - before
	for _, node := range nodes {
		kernel.raw.Forget(node, 1)
	}
	left := inUse() - before
	if images := kernel.raw.mount.inners.images; len(images) != 0 {
		t.Errorf("%d images are held of which everything is forgotten", len(images))
	}
	n := int64(len(nodes))
	t.Logf("%d entries take %d MiB, and %d MiB when they are forgotten", n, held>>20, left>>20)
	if held > 8<<20+n*40 {
		t.Errorf("%d entries that were looked up take %d bytes each", n, held/n)
	}
	if left > 16<<20 {
		t.Errorf("%d entries that were forgotten take %d MiB", n, left>>20)
	}
	runtime.KeepAlive(nodes)
}

// BenchmarkRootfsLookup looks names of an image up that are known, and forgets them, without a
// kernel.
func BenchmarkRootfsLookup(b *testing.B) {
	const files = 20_000
	kernel, dirs := lookUpImages(b, files, 1)
	nodes := make([]uint64, 0, files)
	forget := func() {
		for _, node := range nodes {
			kernel.raw.Forget(node, 1)
		}
		nodes = nodes[:0]
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(nodes) == files {
			forget()
		}
		nodes = append(nodes, kernel.look(dirs[0], fileName(len(nodes))))
	}
	forget()
}
