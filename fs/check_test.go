//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	empty, full, file, link := filepath.Join(dir, "empty"), filepath.Join(dir, "full"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	for _, d := range []string{empty, full, filepath.Join(full, "sub")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("empty", link); err != nil {
		t.Fatal(err)
	}
	live, _ := mountTree(t, testDir{0o555, 10, map[string]tree.Node{}}, Options{})
	for name, c := range map[string]struct {
		mountpoint string
		cache      string
		outside    []string
		want       string // in the error; "" is none
	}{
		"an empty directory":             {empty, filepath.Join(dir, "cache"), []string{dir, full}, ""},
		"a link to one":                  {link, "", nil, ""},
		"nothing there":                  {filepath.Join(dir, "none"), "", nil, "no such directory"},
		"nothing there, nor above":       {filepath.Join(dir, "none", "none"), "", nil, "no such file or directory"},
		"a file":                         {file, "", nil, "not a directory"},
		"a directory with something":     {full, "", nil, "not empty"},
		"a live mount":                   {live, "", nil, "ocidistfs is mounted there already"},
		"another file system":            {"/proc", "", nil, "a proc file system is mounted there already"},
		"the cache below it":             {empty, filepath.Join(empty, "a", "b"), nil, "lies below the mountpoint"},
		"the cache is it":                {empty, empty, nil, "lies below the mountpoint"},
		"the cache below it, by a link":  {empty, filepath.Join(link, "cache"), nil, "lies below the mountpoint"},
		"the cache has it as its prefix": {empty, empty + "-cache", nil, ""},
		"a log below it":                 {empty, "", []string{filepath.Join(empty, "log")}, "lies below the mountpoint"},
		"it in the cache":                {empty, dir, nil, "it lies in the cache directory"},
		"it in the cache, by a link":     {link, dir, nil, "it lies in the cache directory"},
		"it beside the cache":            {empty, full, nil, ""},
	} {
		err := Check(c.mountpoint, false, c.cache, c.outside...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want it to say: %s", name, err, c.want)
		}
	}
}

// TestLinkToStaleMount ends and clears mounts whose process is gone, by a link.
func TestLinkToStaleMount(t *testing.T) {
	for name, end := range map[string]func(string) error{
		"unmount":       func(link string) error { _, err := Unmount(link); return err },
		"another mount": func(link string) error { return Check(link, false, "") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mnt, link := filepath.Join(dir, "mnt"), filepath.Join(dir, "link")
			if err := os.Mkdir(mnt, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("mnt", link); err != nil {
				t.Fatal(err)
			}
			// A mount without a process: that of a connection that nobody serves.
			fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())
			if err := unix.Mount(typeName, mnt, fsType, 0, data); err != nil {
				t.Fatal(err)
			}
			if err := fuse.Close(); err != nil {
				t.Fatal(err)
			}
			if err := end(link); err != nil {
				t.Error(err)
			}
			if _, mounted, err := mountAt(mnt); mounted || err != nil {
				t.Errorf("it is still mounted: %v", err)
				_ = detach(mnt)
			}
		})
	}
}

// TestOneOfManyMounts has several processes, or parts of one, mount at one place.
func TestOneOfManyMounts(t *testing.T) {
	dir := t.TempDir()
	mounts := make(chan *Server)
	for range 4 {
		go func() {
			s, err := Mount(dir, testDir{0o555, 10, nil}, Options{})
			if err != nil && !strings.Contains(err.Error(), "mounted there meanwhile") {
				t.Error(err)
			}
			mounts <- s
		}()
	}
	good := 0
	for range 4 {
		if s := <-mounts; s != nil {
			good++
			defer func() { _ = s.Unmount() }()
		}
	}
	if good != 1 {
		t.Errorf("%d mounts at one place", good)
	}
}

func TestUnmountWhatIsNotOurs(t *testing.T) {
	for path, want := range map[string]string{
		t.TempDir(): "nothing is mounted there",
		"/proc":     "not one of ocidistfs",
	} {
		if _, err := Unmount(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say: %s", path, err, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/mnt/a\040b\011c\134d`); got != "/mnt/a b\tc\\d" {
		t.Errorf("%q", got)
	}
}

// A refresh takes as long as the mount may need for it, unless its caller leaves;
// whatever else is asked of a mount has no such patience.
func TestAwait(t *testing.T) {
	if refreshLimit <= opTimeout {
		t.Errorf("a refresh may take %s, and the mount %s for it", refreshLimit, opTimeout)
	}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		hang := func() error { <-release; return nil }
		began := time.Now()
		if err := within(hang); !errors.Is(err, ErrSilent) || time.Since(began) != statLimit {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began = time.Now()
		if err := await(ctx, refreshLimit, hang); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
