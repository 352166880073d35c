//go:build linux

package fs

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// TestHolders has a process hold a mount in each way, before and after it was
// taken out of the tree of directories.
func TestHolders(t *testing.T) {
	dir, server := mountTree(t, testDir{0o555, 10, map[string]tree.Node{
		"file": testFile{mode: 0o444, ino: 20}, "sub": testDir{0o555, 21, map[string]tree.Node{}},
	}}, Options{})
	entry, ok, err := mountAt(dir)
	if err != nil || !ok {
		t.Fatal(err)
	}
	// A namespace that mounts spread to has this one as well, until it is gone here.
	peers := holders(entry.device)
	for _, h := range peers {
		if h.By != "a mount namespace of its own" {
			t.Errorf("nobody uses it, but %s", h)
		}
	}
	want, ends := map[int]string{}, []func(){}
	for by, script := range map[string]string{
		"an open file":          `exec 3<"$1/file"; echo ready; exec cat`,
		"its working directory": `cd "$1/sub"; echo ready; exec cat`,
		// It does not keep those of other tests.
		"a mount namespace of its own": `export own="$1"; exec unshare --mount --propagation private sh -c '
			awk "\$5 != ENVIRON[\"own\"] && / - fuse[.]ocidistfs / { print \$5 }" /proc/self/mountinfo | xargs -r umount -l
			echo ready; exec cat'`,
	} {
		c := exec.Command("sh", "-c", script, "sh", dir)
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
		end := sync.OnceFunc(func() { _ = in.Close(); _ = c.Wait() }) // cat ends
		t.Cleanup(end)
		ends = append(ends, end)
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		want[c.Process.Pid] = by
	}
	check := func(when string) {
		t.Helper()
		held := slices.DeleteFunc(holders(entry.device), func(h Holder) bool { return slices.Contains(peers, h) })
		if len(held) != len(want) {
			t.Errorf("%s: %s", when, held)
		}
		for _, h := range held {
			if want[h.PID] != h.By {
				t.Errorf("%s: %s; want: by %s", when, h, want[h.PID])
			}
		}
	}
	check("mounted")
	if err := detach(dir); err != nil {
		t.Fatal(err)
	}
	peers = nil
	check("detached")

	// Another mount in its place is none of the first one's business.
	again, err := Mount(dir, testDir{0o555, 10, map[string]tree.Node{"again": testFile{mode: 0o444, ino: 20}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Unmount() }) // it may be gone, which is said below
	for _, end := range ends {
		end()
	}
	if err := server.Unmount(); err != nil {
		t.Error(err)
	}
	if got := run(t, "ls", dir); got != "again\n" {
		t.Errorf("the other mount has %q", got)
	}
	if err := again.Unmount(); err != nil {
		t.Error(err)
	}
}

func TestMapsDevice(t *testing.T) {
	maps := "55d0c0a00000-55d0c0a02000 r--p 00000000 103:02 1048601   /usr/bin/cat\n" +
		"7f1200000000-7f1200001000 r--s 00000000 00:2d 77 " + filepath.Join("/mnt", "a file") + "\nshort\n"
	for device, want := range map[string]bool{"259:2": true, "0:45": true, "0:2": false, "": false} {
		if got := mapsDevice(maps, device); got != want {
			t.Errorf("%q: %t", device, got)
		}
	}
}

func TestHoldersInWords(t *testing.T) {
	many := make(Holders, shownHolders+3)
	for i := range many {
		many[i] = Holder{PID: i + 1, Name: "cat", By: "an open file"}
	}
	if got := many.String(); !strings.HasPrefix(got, "cat (process 1, by an open file), ") || !strings.HasSuffix(got, ", and 3 more") {
		t.Error(got)
	}
}
