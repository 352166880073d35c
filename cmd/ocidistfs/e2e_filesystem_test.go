//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestFilesystems has the cache on file systems that can share blocks between
// files, and on one that cannot: what is pulled and what is read is the same, and
// the disk has it once where that can be. OCIDISTFS_TEST_FILESYSTEMS says that it
// is to run on all; else it runs on those for which there is a mkfs.
func TestFilesystems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mkfs   string
		shares bool
	}{
		"xfs":   {"mkfs.xfs -q", true},
		"btrfs": {"mkfs.btrfs -q", true},
		"ext4":  {"mkfs.ext4 -q", false},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root mounts it")
			}
			if _, err := exec.LookPath("mkfs." + name); err != nil {
				if os.Getenv("OCIDISTFS_TEST_FILESYSTEMS") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			disk := loopMount(t, c.mkfs)
			cacheTests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout", "2m", "-run", "TestAssemble|TestIntact", "-v", "../../cache")
			cacheTests.Env = append(os.Environ(), "CGO_ENABLED=0", "TMPDIR="+disk)
			if out, err := cacheTests.CombinedOutput(); err != nil || !strings.Contains(string(out), fmt.Sprintf("blocks are shared: %t", c.shares)) {
				t.Errorf("the cache's own tests, there: %v\n%s", err, out)
			}
			s := registrytest.Start(t, registrytest.Options{})
			const size = 8 << 20
			image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000, size, 1000, size + 4097}})
			s.Push(t, "a", "1", image)
			reference := s.Host() + "/a:1"
			bash(t, "ocidistfs pull --no-cache --path "+disk+"/want.tar "+reference)
			pull := "ocidistfs pull --cache-dir " + disk + "/cache --path " + disk
			bash(t, pull+"/cold.tar "+reference)
			s.Forget()
			bash(t, pull+"/warm.tar "+reference+"; cd "+disk+"; cmp want.tar cold.tar; cmp want.tar warm.tar; rm cold.tar")
			if n := s.Count(registrytest.Blob); n != 0 {
				t.Errorf("the second pull made %d requests for blobs", n)
			}
			// The command cp makes a file in the same way.
			bash(t, "ocidistfs cp --cache-dir "+disk+"/cache "+s.Host()+"/a/tags/1/image.tar "+disk+"/cp.tar; cmp "+disk+"/cp.tar "+disk+"/want.tar")
			if used := usedBytes(t, disk, "cp.tar"); c.shares == (used > size) {
				t.Errorf("a file copied beside the cache takes %d bytes of its own", used)
			}
			bash(t, "cd "+disk+`; at=`+s.Host()+`/a/tags/1/layers; name=$(ocidistfs ls --cache-dir cache $at | grep '^03-.*gz$')
				ocidistfs cp --cache-dir cache $at/$name layer; test $name = "03-$(sha256sum < layer | cut -c -12).tar.gz"`)
			if used := usedBytes(t, disk, "layer"); c.shares == (used > size) {
				t.Errorf("a layer copied beside the cache takes %d bytes of its own", used)
			}
			// How much of a file is shared, filefrag and du do not agree on with both.
			if used := usedBytes(t, disk, "warm.tar"); c.shares == (used > size) {
				t.Errorf("a tarball beside the cache takes %d bytes of its own", used)
			}

			dir := background(t, disk+"/cache", "")
			tar := filepath.Join(dir, s.Host(), "a/tags/1/image.tar")
			// An open waits for a tenth of a second for the file that the kernel is to read
			// by itself, so that a busy machine may have it read here: the next finds it.
			var read int64
			for range 5 {
				before := readBytes(t, dir)
				readAll(t, disk, tar)
				read = readBytes(t, dir) - before
				if !c.shares || read < size {
					break
				}
			}
			if passed := read < size; passed != c.shares {
				t.Errorf("%d bytes were read out of the cache; is the kernel to read by itself: %t", read, c.shares)
			}

			// Damage in a blob is found, and mended.
			bash(t, `blob=$(find `+disk+`/cache/blobs/sha256 -size +8194k | head -n 1)
				chmod 600 $blob; printf x | dd of=$blob bs=1 seek=5000000 conv=notrunc status=none; chmod 400 $blob`)
			again := background(t, disk+"/cache", "")
			bash(t, "cmp "+filepath.Join(again, s.Host(), "a/tags/1/image.tar")+" "+disk+"/want.tar")
			if n := s.Count(registrytest.Blob); n == 0 {
				t.Error("nothing was fetched again")
			}
			bash(t, pull+"/mended.tar "+reference+"; cmp "+disk+"/mended.tar "+disk+"/want.tar")
		})
	}
}

// loopMount makes a file system in a file, and mounts it until the test ends.
func loopMount(t *testing.T, mkfs string) string {
	t.Helper()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	bash(t, "cd "+dir+"; truncate -s 400M image; "+mkfs+" image > /dev/null; mkdir disk; mount -o loop image disk")
	t.Cleanup(func() {
		// It is busy while a daemon of the test ends.
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", disk).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return disk
}

// usedBytes is by how much more of a disk is free without a file.
func usedBytes(t *testing.T, disk, file string) int64 {
	t.Helper()
	var before, after int64
	read := func(to *int64) {
		if err := json.Unmarshal([]byte(bash(t, "sync -f "+disk+"; df --output=used -B1 "+disk+" | tail -n 1")), to); err != nil {
			t.Fatal(err)
		}
	}
	read(&before)
	bash(t, "rm "+filepath.Join(disk, file))
	read(&after)
	return before - after
}

// readBytes is how much a mount's readers have read out of the cache.
func readBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var status struct {
		Mount struct {
			Cache struct {
				ReadBytes int64 `json:"readBytes"`
			} `json:"cache"`
		} `json:"mount"`
	}
	if err := json.Unmarshal([]byte(bash(t, "cat "+dir+"/.ocidistfs/status.json")), &status); err != nil {
		t.Fatal(err)
	}
	return status.Mount.Cache.ReadBytes
}

// readAll has other programs read image.tar and the layers, in order and not, and compares
// what they get.
func readAll(t *testing.T, disk, tar string) {
	t.Helper()
	bash(t, "cmp "+tar+" "+disk+"/want.tar; cp "+tar+" "+disk+"/copy.tar; cmp "+tar+" "+disk+"/copy.tar")
	bash(t, "cmp --ignore-initial 9000001 --bytes 5000 "+tar+" "+disk+"/want.tar")
	bash(t, "for l in "+filepath.Dir(tar)+"/layers/*.tar.gz; do sha256sum < $l; done | sort > "+disk+"/read; "+
		"cd "+filepath.Dir(tar)+"/oci/blobs/sha256; for b in $(find . -size +8M -printf '%f\n'); do grep -q $b "+disk+"/read; done")
}
