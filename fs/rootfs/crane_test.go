package rootfs

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// craneExport is what crane export writes of layers.
func craneExport(t *testing.T, layers [][]byte) []byte {
	t.Helper()
	var all []v1.Layer
	for _, layer := range layers {
		all = append(all, static.NewLayer(layer, types.OCIUncompressedLayer))
	}
	image, err := mutate.AppendLayers(empty.Image, all...)
	if err != nil {
		t.Fatal(err)
	}
	r := mutate.Extract(image)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// ordinaryLayers are an image as most are: a system, what is installed on it, and a layer that
// changes some of it.
func ordinaryLayers() [][]testEntry {
	base := []testEntry{
		dir("bin"), file("bin/busybox", "b").mode(0o4755), hardlink("bin/sh", "bin/busybox"), symlink("bin/ls", "busybox"),
		dir("etc"), file("etc/passwd", "root"), file("etc/motd", "hello"), dir("tmp").mode(0o1777), fifo("run/fifo"), device("dev/null", 1, 3),
	}
	packages := []testEntry{dir("usr"), dir("usr/lib")}
	for i := range 50 {
		packages = append(packages, file(fmt.Sprintf("usr/lib/%02d", i), fmt.Sprint(i)).xattr("user.n", fmt.Sprint(i)))
	}
	return [][]testEntry{base, packages, {dir("etc"), file("etc/passwd", "root, user"), file("etc/.wh.motd", ""), file("usr/lib/new", "n")}}
}

// TestTarStreamOfOrdinaryImages: of an image that has nothing unusual, the archive has
// what that of crane export has.
func TestTarStreamOfOrdinaryImages(t *testing.T) {
	var layers [][]byte
	for _, entries := range ordinaryLayers() {
		layers = append(layers, layerOf(t, entries))
	}
	theirs := craneExport(t, layers)
	ours := tarOf(t, mergeOf(t, layers, nil), layers, nil)
	seen := func(archive []byte) []string {
		return lines(see(t, mergeOf(t, [][]byte{archive}, nil), [][]byte{archive}), true)
	}
	if d := difference(seen(ours), seen(theirs)); d != "" {
		t.Errorf("crane differs:\n%s", d)
	}
	if len(seen(ours)) < 60 {
		t.Error("that is too little to say anything")
	}
}

// craneCases are images of which crane export (go-containerregistry 0.22) writes something
// else than containerd unpacks. What it writes is here so that it is noticed when that
// changes.
var craneCases = []struct {
	name        string
	layers      [][]testEntry
	want, crane string
}{
	{
		"two entries of one name: the last one counts",
		[][]testEntry{{file("a", "1"), file("a", "2")}},
		"a=2", "a=1",
	},
	{
		"a whiteout and a file of its name in one layer: the whiteout is of the layers below",
		[][]testEntry{{file("a", "1")}, {file(".wh.a", ""), file("a", "2")}},
		"a=2", "",
	},
	{
		"a directory that is removed and made again in one layer",
		[][]testEntry{{dir("d"), file("d/a", "1")}, {file(".wh.d", ""), dir("d"), file("d/b", "2")}},
		"d/ d/b=2", "",
	},
	{
		"a hard link keeps its bytes when a layer above replaces its target",
		[][]testEntry{{file("a", "1"), hardlink("b", "a")}, {file("a", "2")}},
		"a=2 b=1(2 of b)", "a=2(2 of a) b=2(2 of a)",
	},
	{
		"a hard link keeps its bytes when a layer above removes its target",
		[][]testEntry{{file("a", "1"), hardlink("b", "a")}, {file(".wh.a", "")}},
		"b=1(2 of b)", "",
	},
	{
		"a directory in the place of a file",
		[][]testEntry{{file("d", "1")}, {file("d/a", "2")}},
		"d/ d/a=2", "d=1",
	},
	{
		"a file in a directory that is a link",
		[][]testEntry{{dir("d"), symlink("l", "d"), file("l/a", "1")}},
		"d/ d/a=1 l->d", "d/ l->d",
	},
}

func TestTarStreamWhereCraneIsWrong(t *testing.T) {
	for _, c := range craneCases {
		t.Run(c.name, func(t *testing.T) {
			var layers [][]byte
			for _, entries := range c.layers {
				layers = append(layers, layerOf(t, entries))
			}
			f := mergeOf(t, layers, nil)
			if got := summary(t, f, layers); got != c.want {
				t.Errorf("the file system is %q, want %q", got, c.want)
			}
			archive := tarOf(t, f, layers, nil)
			single := [][]byte{archive}
			// The archive has no names that are hidden.
			want := bytes.ReplaceAll([]byte(c.want), []byte("(2 of b)"), nil)
			if got := summary(t, mergeOf(t, single, nil), single); got != string(want) {
				t.Errorf("the archive has %q, want %q", got, want)
			}
			theirs := [][]byte{craneExport(t, layers)}
			if got := summary(t, mergeOf(t, theirs, nil), theirs); got != c.crane {
				t.Errorf("crane has %q, which was %q", got, c.crane)
			}
		})
	}
}
