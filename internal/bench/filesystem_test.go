package bench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// mkfs makes file systems, by type. XFS wants 300 MB at the least.
var mkfs = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F", "-m", "0"},
	"xfs":   {"mkfs.xfs", "-q", "-m", "reflink=1"},
	"btrfs": {"mkfs.btrfs", "-q"},
}

// filesystem makes a file system of a type in a file, mounts it until the test
// ends, and returns where. It takes room only for what is written to it.
func (b *bench) filesystem(ctx context.Context, t *testing.T, kind string, size int64) string {
	t.Helper()
	home := b.home(t, "filesystems")
	f, err := os.CreateTemp(home, kind+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	command{home: home, args: append(mkfs[kind], f.Name())}.must(ctx, t)
	dir := f.Name() + "-mounted"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The device is let go of with the mount.
	command{home: home, args: []string{"mount", "-o", "loop", f.Name(), dir}}.must(ctx, t)
	b.filesystems = append(b.filesystems, dir)
	t.Cleanup(func() {
		b.filesystems = slices.DeleteFunc(b.filesystems, func(mounted string) bool { return mounted == dir })
		umount := command{home: home, args: []string{"umount", dir}}
		if _, err := umount.run(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
			detach(ctx, t, dir)
		}
		_ = os.Remove(dir) // or it is still a mountpoint
	})
	return dir
}

// room is the size of a file system for the cache, a copy, and what is written
// beside them.
func (b *bench) room() int64 { return 4*b.size + 1<<30 }

// homeIn makes a directory in a file system, for a cache or files.
func homeIn(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
