package rootfs

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/layers"
	"github.com/ocidistfs/ocidistfs/internal/mounted"
)

// These tests look at merged file systems as programs do, on a mount of the program.
// What is there was compared with what containerd makes of the same layers by the
// tests that the cases are from.

// module is the directory of go.mod.
const module = "../.."

// seenOnMount lists a directory by a program, since the file system of a directory may be
// one that waits for this process.
func seenOnMount(t *testing.T, program, dir string) []seenFile {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, "list", dir+"/").Output()
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	var files []seenFile
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	return files
}

// onMount compares the merged file system of layers with what a mount shows of them,
// stored in each way.
func onMount(t *testing.T, m *mounted.Mount, program string, archives [][]byte, f *Filesystem) {
	t.Helper()
	seen, sources := see(t, f, archives), map[string]int{}
	layersOf(f, f.Root(), "", sources)
	for _, e := range layers.All() {
		var stored []layers.Layer
		for _, archive := range archives {
			l, err := e.Encode(archive)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, l)
		}
		root, err := m.Image(stored...)
		if err != nil {
			t.Fatal(err)
		}
		want, there := seen, seenOnMount(t, program, root)
		checkLayers(t, there, sources, stored)
		if e.Seconds {
			want, there = bySecond(want), bySecond(there)
		}
		if d := difference(lines(there, true), lines(want, true)); d != "" {
			t.Errorf("%s: the mount (ours) has not what it should have:\n%s", e.Name, d)
		}
	}
}

// layersOf says which layer each file and directory below one is from.
func layersOf(f *Filesystem, dir Node, name string, sources map[string]int) {
	for _, c := range f.Children(dir) {
		path := strings.TrimPrefix(name+"/"+c.Name, "/")
		sources[path], _ = f.Source(c.Node)
		layersOf(f, c.Node, path, sources)
	}
}

// checkLayers takes the attributes away that say which layer a file is from, and what made
// that, and checks the former. Only files and directories have them, and the root is
// from none.
func checkLayers(t *testing.T, seen []seenFile, sources map[string]int, stored []layers.Layer) {
	t.Helper()
	for _, f := range seen {
		want := ""
		if layer, ok := sources[string(f.Name)]; ok && (f.Mode&0o170000 == formats[tar.TypeReg] || f.Mode&0o170000 == formats[tar.TypeDir]) {
			want = digestOf(stored[layer].Blob).String()
		}
		if got := string(f.Xattrs["user.oci.layer"]); got != want {
			t.Errorf("%q is said to be from layer %q, not %q", f.Name, got, want)
		}
		delete(f.Xattrs, "user.oci.layer")
		delete(f.Xattrs, "user.oci.history")
	}
}

// TestMergeOnMount runs the cases of the merge, of containerd's TestBreakouts and of
// umoci's opaque whiteouts.
func TestMergeOnMount(t *testing.T) {
	m := mounted.Start(t, module)
	program := mounted.Unpack(t, module)
	cases := append(append(append([]mergeCase(nil), mergeCases...), breakouts...), opaqueMergeCases()...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			archives, f := c.check(t)
			onMount(t, m, program, archives, f)
		})
	}
}

// TestRandomStacksOnMount shows some of the images of TestRandomStacks.
func TestRandomStacksOnMount(t *testing.T) {
	m := mounted.Start(t, module)
	program := mounted.Unpack(t, module)
	seeds := uint64(100)
	if mounted.Smoke() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := newGenerator(t, seed)
			for range 1 + g.IntN(6) {
				g.layer(g.IntN(30))
			}
			onMount(t, m, program, g.ours, mergeOf(t, g.ours, nil))
		})
	}
}
