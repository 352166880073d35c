package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestDisk copies while the cache directory is full, read-only, or gone.
func TestDisk(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	var layers []int64
	for n := range 10 {
		layers = append(layers, int64(times(50<<20, 6<<20))+int64(n)) // each another
	}
	i := b.push(t, r, "large", registrytest.ImageSpec{Layers: layers})
	small := b.push(t, r, "small", registrytest.ImageSpec{Layers: []int64{100_000}, Seed: 1})
	slow := registrytest.Only(registrytest.Blob, r.Trickle(piece, 2*time.Millisecond))
	for _, c := range []struct {
		name        string
		megabytes   int
		spoil, mend func(t *testing.T, cache string)
	}{
		{"full", times(64, 16), nil, nil},
		// Less room than is taken, in mid-copy: the next write fails.
		{"no more room", times(2000, 200), func(t *testing.T, cache string) {
			var st unix.Statfs_t
			if err := unix.Statfs(cache, &st); err != nil {
				t.Fatal(err)
			}
			used := int64(st.Blocks-st.Bfree) * st.Bsize
			if err := unix.Mount("", cache, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used+64<<10)); err != nil {
				t.Logf("remount: %v", err) // more was written since
			}
		}, func(t *testing.T, cache string) {
			if err := unix.Mount("", cache, "", unix.MS_REMOUNT, fmt.Sprintf("size=%dm", times(2000, 200))); err != nil {
				t.Error(err)
			}
		}},
		{"removed", times(2000, 200), func(t *testing.T, cache string) {
			for _, dir := range []string{"blobs", "sums", "partial", "refs"} {
				if err := os.RemoveAll(filepath.Join(cache, dir)); err != nil && !os.IsNotExist(err) {
					t.Logf("remove %s: %v", dir, err) // it is being filled
				}
			}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := b.home(t, "cache")
			if err := unix.Mount("tmpfs", cache, "tmpfs", 0, fmt.Sprintf("size=%dm", c.megabytes)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(cache, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			m := b.mount(t, cache)
			r.Heal()
			r.Forget()
			r.Break(slow)
			wait := b.start(t, "cat", m.in(i.dir, "image.tar"))
			if c.spoil != nil {
				eventually(t, "a copy under way", func() bool { return r.Sent() > 2<<20 })
				c.spoil(t, cache)
			}
			o := wait()
			r.Heal()
			t.Logf("the copy: %v", o)
			checkDisk(t, i, o)
			// The mount lives, and says what the matter is.
			if m.status().Mount.PID != m.pid() {
				t.Error("the mount does not answer")
			}
			checkDisk(t, small, b.run("cat", m.in(small.dir, "image.tar")))
			if c.mend != nil {
				c.mend(t, cache)
			}
			if c.name == "full" {
				return
			}
			// When it is well again so is everything.
			m.stop(t)
			m.start(t)
			if o := b.run("cat", m.in(i.dir, "image.tar")); !i.isIt(o) {
				t.Errorf("afterwards: %v", o)
			}
		})
	}
}

// checkDisk holds a copy to be right, whatever the disk does.
func checkDisk(t *testing.T, i image, o outcome) {
	t.Helper()
	switch {
	case i.isIt(o):
	case o.hung:
		t.Errorf("it hangs: %v", o)
	case o.err == nil:
		t.Errorf("a wrong copy: %v", o)
	default:
		t.Errorf("it failed: %v", o)
	}
}

// TestReadOnlyCache mounts with a cache directory that cannot be written to: that
// works, and nothing is kept.
func TestReadOnlyCache(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	i := b.push(t, r, "a", registrytest.ImageSpec{Layers: []int64{300_000}})
	other := b.push(t, r, "b", registrytest.ImageSpec{Layers: []int64{300_000}, Seed: 1})
	cache := b.home(t, "cache")
	if err := unix.Mount("tmpfs", cache, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(cache, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m := b.mount(t, cache)
	b.must(t, "cat", m.in(i.dir, "image.tar"))
	m.stop(t)
	eventually(t, "a directory that cannot be written to", func() bool {
		return unix.Mount("", cache, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil
	})
	b.must(t, program, "mount", "--anonymous", "--platform", "linux/amd64", "--cache-dir", cache, m.root)
	for _, i := range []image{i, other} {
		checkDisk(t, i, b.run("cat", m.in(i.dir, "image.tar")))
	}
	b.must(t, program, "unmount", m.root)
}
