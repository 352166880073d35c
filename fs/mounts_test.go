//go:build linux

package fs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// The machine's mounts are found without a look at them.
func TestMounts(t *testing.T) {
	dir, _ := mountTree(t, testDir{0o555, 10, map[string]tree.Node{}}, Options{})
	found, err := Mounts()
	if err != nil || !slices.Contains(found, dir) {
		t.Fatalf("%s is not in %q, %v", dir, found, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: dir, dir + "/a/b": dir, link: link, link + "/a": link,
		filepath.Dir(dir): "", dir + "-none": "", "/": "",
	} {
		if got, err := mountOf(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is in %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts(strings.Join([]string{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`,
		`37 35 0:44 / /mnt/a\040b ro - fuse.ocidistfs ocidistfs ro,user_id=0`,
		`38 35 nonsense`,
		``,
	}, "\n"))
	want := []mountEntry{{"/mnt2", "98:0", "ext3"}, {"/mnt/a b", "0:44", "fuse.ocidistfs"}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
