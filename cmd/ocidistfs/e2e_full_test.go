//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// tmpfsMount mounts a small file system in memory until the test ends.
func tmpfsMount(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts it")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	bash(t, "mkdir "+dir+"; mount -t tmpfs -o size="+size+" tmpfs "+dir)
	t.Cleanup(func() {
		// It is busy while a daemon of the test ends.
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// TestFullDisk has the cache on a disk that is much smaller than the image: "A full or
// failing disk never fails a read: what cannot be kept is fetched each time." The copy
// is right, a small image is kept beside it, and the mount starts where the disk is
// read-only.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := tmpfsMount(t, "12m")
	s := registrytest.Start(t, registrytest.Options{})
	s.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000, 30 << 20, 6 << 20}}))
	s.Push(t, "a", "small", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}}))
	work := t.TempDir()
	bash(t, "ocidistfs pull --no-cache --path "+work+"/want.tar "+s.Host()+"/a:1")
	dir := background(t, disk+"/cache", "")
	tags := filepath.Join(dir, s.Host(), "a/tags")
	bash(t, "cmp "+tags+"/1/image.tar "+work+"/want.tar; cmp "+tags+"/1/image.tar "+work+"/want.tar")
	bash(t, "cmp --ignore-initial 20000001 --bytes 5000 "+tags+"/1/image.tar "+work+"/want.tar")
	bash(t, "cat "+tags+"/small/image.tar | sha256sum")
	s.Forget()
	bash(t, "cat "+tags+"/small/image.tar | sha256sum")
	if n := s.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for a small image that has room", n)
	}
	bash(t, "ocidistfs pull --path "+work+"/got.tar --cache-dir "+disk+"/cache "+s.Host()+"/a:1 2>/dev/null >&2; cmp "+work+"/got.tar "+work+"/want.tar")
	bash(t, "ocidistfs unmount "+dir+"; mount -o remount,ro "+disk)
	again := background(t, disk+"/cache", "--log-file "+work+"/log")
	bash(t, "cmp "+filepath.Join(again, s.Host(), "a/tags/1/image.tar")+" "+work+"/want.tar")
	if log := bash(t, "cat "+work+"/log"); !strings.Contains(log, "the cache directory cannot be used") && !strings.Contains(log, "not kept in the cache") {
		t.Errorf("the log does not say that nothing is kept:\n%s", log)
	}
}

// TestCacheRemoved removes the cache directory below a mount, again and again while an
// image is copied: the copies are right, and at the end there is a cache as before.
func TestCacheRemoved(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts without fusermount3")
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000, 5 << 20, 8 << 20}}))
	work := t.TempDir()
	bash(t, "ocidistfs pull --no-cache --path "+work+"/want.tar "+s.Host()+"/a:1")
	dir := background(t, work+"/cache", "--cache-size 1GiB")
	tar := filepath.Join(dir, s.Host(), "a/tags/1/image.tar")
	bash(t, `cd `+work+`
		for i in 1 2 3; do
			cmp `+tar+` want.tar &
			while kill -0 $! 2>/dev/null; do rm -rf cache || true; done
			wait $!
		done
		cmp `+tar+` want.tar`)
	// A file that is still being closed goes on without keeping for a while.
	for tries := 0; ; tries++ {
		s.Forget()
		bash(t, "cmp "+tar+" "+work+"/want.tar")
		n := s.Count(registrytest.Blob)
		if n == 0 {
			break
		}
		if tries == 50 {
			t.Fatalf("%d requests for blobs after the directory was left alone", n)
		}
	}
	bash(t, "ocidistfs cache verify --cache-dir "+work+"/cache")
	bash(t, "ocidistfs pull --path "+work+"/got.tar --cache-dir "+work+"/cache "+s.Host()+"/a:1 2>/dev/null >&2; cmp "+work+"/got.tar "+work+"/want.tar")
}
