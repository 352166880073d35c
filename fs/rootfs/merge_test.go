package rootfs

import (
	"reflect"
	"strings"
	"testing"
)

// Who decides a case besides this table: containerd, which unpacks the layers into
// a directory each for overlayfs, or one after the other into the same directory.
const (
	both          = ""
	overlaid      = "overlay"   // alone
	unpackedInOne = "directory" // alone; with overlayfs containerd fails, or forgets something
	nobody        = "nobody"    // containerd fails both times, or differs
)

type mergeCase struct {
	name   string
	layers [][]testEntry // the lowest first
	want   string        // as summary says it
	hidden []string      // what is reported
	oracle string
}

var mergeCases = []mergeCase{
	{
		name:   "nothing",
		layers: [][]testEntry{{}},
		want:   "",
	},
	{
		name:   "the last of two with one name is there",
		layers: [][]testEntry{{file("a", "1"), dir("b"), file("b/x", "2"), file("a", "3"), file("b", "4")}},
		want:   "a=3 b=4",
	},
	{
		name:   "a second directory of one name keeps what is in it",
		layers: [][]testEntry{{dir("d"), file("d/x", "1"), dir("d").mode(0o700)}},
		want:   "d/(700) d/x=1",
	},
	{
		name:   "directories merge and the upper attributes win",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1"), file("d/b", "2")}, {dir("d").mode(0o750), file("d/b", "3")}},
		want:   "d/(750) d/a=1 d/b=3",
	},
	{
		name:   "a file over a directory drops what was in it",
		layers: [][]testEntry{{dir("d"), file("d/a", "1")}, {file("d", "2")}, {dir("d"), file("d/b", "3")}},
		want:   "d/ d/b=3",
	},
	{
		name:   "a directory over a file",
		layers: [][]testEntry{{file("d", "1")}, {dir("d"), file("d/a", "2")}},
		want:   "d/ d/a=2",
	},
	{
		name:   "a symbolic link over a directory, and a directory over a symbolic link",
		layers: [][]testEntry{{dir("d"), file("d/a", "1"), symlink("l", "d"), file("d/b", "2")}, {symlink("d", "x"), dir("l")}},
		want:   "d->x l/",
	},
	{
		name:   "a whiteout",
		layers: [][]testEntry{{dir("d"), file("d/a", "1"), file("d/b", "2"), file("c", "3")}, {file("d/.wh.a", ""), file(".wh.c", "")}},
		want:   "d/ d/b=2",
	},
	{
		name:   "a whiteout of a directory",
		layers: [][]testEntry{{dir("d"), file("d/a", "1")}, {file(".wh.d", "")}, {file("x", "")}},
		want:   "x=",
	},
	{
		name:   "a whiteout without a target",
		layers: [][]testEntry{{file("a", "1")}, {file(".wh.b", "")}},
		want:   "a=1",
	},
	{
		name:   "a whiteout before a file of the same layer",
		layers: [][]testEntry{{file("a", "1")}, {file(".wh.a", ""), file("a", "2")}},
		want:   "a=2",
	},
	{
		// In one directory containerd takes away what the same layer has brought, and
		// with overlayfs it fails.
		name:   "a whiteout after a file of the same layer",
		layers: [][]testEntry{{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}},
		want:   "a=2",
		oracle: nobody,
	},
	{
		// With overlayfs containerd forgets the whiteout.
		name:   "a whiteout before a directory of the same layer hides what was in it",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1")}, {file(".wh.d", ""), dir("d"), file("d/b", "2")}},
		want:   "d/ d/b=2",
		oracle: unpackedInOne,
	},
	{
		name:   "a whiteout after a directory of the same layer hides what was in it",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1")}, {dir("d"), file("d/b", "2"), file(".wh.d", "")}},
		want:   "d/ d/b=2",
		oracle: nobody,
	},
	{
		name:   "a whiteout and a directory without an entry",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1")}, {file(".wh.d", ""), file("d/b", "2")}},
		want:   "d/ d/b=2",
		oracle: unpackedInOne,
	},
	{
		name:   "a whiteout is a whiteout whatever its type",
		layers: [][]testEntry{{file("a", "1"), file("b", "2")}, {dir(".wh.a"), symlink(".wh.b", "c")}},
		want:   "",
	},
	{
		name:   "an opaque directory, marked first",
		layers: [][]testEntry{{dir("d"), file("d/a", "1")}, {dir("d"), file("d/.wh..wh..opq", ""), file("d/b", "2")}, {file("d/c", "3")}},
		want:   "d/ d/b=2 d/c=3",
	},
	{
		name:   "an opaque directory, marked last",
		layers: [][]testEntry{{dir("d"), file("d/a", "1")}, {dir("d"), file("d/b", "2"), file("d/.wh..wh..opq", "")}},
		want:   "d/ d/b=2",
	},
	{
		name:   "opaque hides the children, not the directory",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1"), dir("d/e"), file("d/e/f", "2")}, {file("d/.wh..wh..opq", "")}},
		want:   "d/(700)",
	},
	{
		name:   "an opaque directory below an opaque one",
		layers: [][]testEntry{{file("d/e/a", "1"), file("d/b", "2")}, {file("d/e/.wh..wh..opq", ""), file("d/e/c", "3")}, {file("d/.wh..wh..opq", ""), file("d/f", "4")}},
		want:   "d/ d/f=4",
	},
	{
		// Overlayfs does not look whether its root is opaque.
		name:   "an opaque root",
		layers: [][]testEntry{{file("a", "1")}, {file("b", "2"), file(".wh..wh..opq", "")}, {file("c", "3")}},
		want:   "b=2 c=3",
		oracle: unpackedInOne,
	},
	{
		name:   "whiteouts of nothing",
		layers: [][]testEntry{{file("d/a", "1")}, {file("d/.wh.", ""), file("d/.wh..", ""), file("d/.wh...", ""), file(".wh...", "")}},
		want:   "d/ d/a=1",
		hidden: []string{
			`entry "d/.wh.": a whiteout of nothing`, `entry "d/.wh..": a whiteout of nothing`,
			`entry "d/.wh...": a whiteout of nothing`, `entry ".wh...": a whiteout of nothing`,
		},
		oracle: nobody,
	},
	{
		name:   "what else aufs keeps is not shown",
		layers: [][]testEntry{{file(".wh.plnk", "1")}, {dir(".wh..wh.plnk"), file(".wh..wh.aufs", "2"), file("a", "3")}},
		want:   "a=3",
	},
	{
		name:   "the name of a parent is no whiteout",
		layers: [][]testEntry{{file("d/a", "1")}, {file(".wh.d/b", "2")}},
		want:   ".wh.d/ .wh.d/b=2 d/ d/a=1",
	},
	{
		name:   "a device of overlayfs is a whiteout",
		layers: [][]testEntry{{file("a", "1"), dir("d"), file("d/b", "2")}, {device("a", 0, 0), device("d", 0, 0), device("e", 0, 1)}},
		want:   "e=30:1",
		oracle: overlaid,
	},
	{
		name:   "a parent that is a link of the same layer is followed",
		layers: [][]testEntry{{dir("d"), symlink("l", "d"), file("l/a", "1"), symlink("m", "/l/./x"), file("m/b", "2")}},
		want:   "d/ d/a=1 d/x/ d/x/b=2 l->d m->/l/./x",
	},
	{
		name:   "a parent that is a link of a lower layer is hidden",
		layers: [][]testEntry{{dir("d"), file("d/a", "1"), symlink("l", "d")}, {dir("l"), file("l/b", "2")}},
		want:   "d/ d/a=1 l/ l/b=2",
	},
	{
		name:   "a parent without an entry over a link of a lower layer",
		layers: [][]testEntry{{dir("d").mode(0o700), file("d/a", "1"), symlink("l", "d")}, {file("l/b", "2")}},
		want:   "d/(700) d/a=1 l/ l/b=2",
		oracle: nobody, // it gives the new directory the mode of the link's target
	},
	{
		name:   "a link in the last component is replaced",
		layers: [][]testEntry{{dir("d"), symlink("l", "d"), dir("l"), file("l/a", "1")}},
		want:   "d/ l/ l/a=1",
	},
	{
		name:   "a link that goes in a circle",
		layers: [][]testEntry{{symlink("a", "b"), symlink("b", "a"), file("a/x", "1"), file("y", "2")}},
		want:   "a->b b->a y=2",
		hidden: []string{`entry "a/x": too many symbolic links`},
		oracle: nobody,
	},
	{
		name:   "a parent that is a file",
		layers: [][]testEntry{{file("a", "1"), file("a/b", "2"), file("c", "3")}},
		want:   "a=1 c=3",
		hidden: []string{`entry "a/b": its parent is no directory`},
		oracle: nobody,
	},
	{
		name:   "missing parents are made",
		layers: [][]testEntry{{file("a/b/c", "1")}},
		want:   "a/ a/b/ a/b/c=1",
	},
	{
		name:   "missing parents have the attributes of the lower directory",
		layers: [][]testEntry{{dir("a").mode(0o711).xattr("user.x", "y"), dir("a/b").mode(0o1777)}, {file("a/b/c", "1")}, {file("a/b/c/d", "2")}},
		want:   "a/(711) a/b/(1777) a/b/c/ a/b/c/d=2",
		oracle: overlaid,
	},
	{
		name:   "names are clamped to the root",
		layers: [][]testEntry{{file("../../a", "1"), file("/b", "2"), file("c/../../../d", "3"), file("./e//f/./g", "4"), dir("/"), dir("."), dir("..")}},
		want:   "a=1 b=2 d=3 e/ e/f/ e/f/g=4",
	},
	{
		name:   "links are clamped to the root",
		layers: [][]testEntry{{symlink("l", "../../.."), file("l/a", "1"), symlink("m", "/../n/../o"), file("m/b", "2")}},
		want:   "a=1 l->../../.. m->/../n/../o o/ o/b=2",
	},
	{
		name:   "names are bytes",
		layers: [][]testEntry{{file("\xff\xfe", "1"), file("é", "2"), file("e\u0301", "3"), file("a\nb\\", "4")}},
		want:   "a\nb\\=4 e\u0301=3 é=2 \xff\xfe=1",
	},
	{
		name:   "a component that is too long",
		layers: [][]testEntry{{file(strings.Repeat("n", 256), "1"), file(strings.Repeat("m", 256)+"/a", "2"), file(strings.Repeat("o", 255), "3")}},
		want:   strings.Repeat("o", 255) + "=3",
		hidden: []string{
			`entry "` + strings.Repeat("n", 256) + `": a component of more than 255 bytes`,
			`entry "` + strings.Repeat("m", 256) + `…": a component of more than 255 bytes`,
		},
		oracle: nobody,
	},
	{
		name:   "types",
		layers: [][]testEntry{{device("null", 1, 3).mode(0o666), fifo("pipe"), file("su", "x").mode(0o4755), symlink("l", "x")}},
		want:   "l->x null=31:3 pipe| su=x",
	},
	{
		name:   "hard links",
		layers: [][]testEntry{{file("a", "1"), hardlink("b", "a"), hardlink("d/c", "/b"), symlink("l", "x"), hardlink("m", "l"), fifo("p"), hardlink("q", "p")}},
		want:   "a=1(3 of a) b=1(3 of a) d/ d/c=1(3 of a) l->x(2 of l) m->x(2 of l) p|(2 of p) q|(2 of p)",
	},
	{
		name:   "a hard link whose target is replaced in its layer",
		layers: [][]testEntry{{file("a", "1"), hardlink("b", "a"), file("a", "2"), hardlink("c", "a")}},
		want:   "a=2(2 of a) b=1 c=2(2 of a)",
	},
	{
		name:   "a hard link whose target is replaced above",
		layers: [][]testEntry{{file("a", "1"), hardlink("b", "a"), hardlink("c", "a")}, {file("a", "2")}},
		want:   "a=2 b=1(3 of b) c=1(3 of b)",
		oracle: overlaid,
	},
	{
		name:   "a hard link whose target is removed above",
		layers: [][]testEntry{{file("a", "1"), hardlink("b", "a")}, {file(".wh.a", "")}},
		want:   "b=1(2 of b)",
		oracle: overlaid,
	},
	{
		name:   "a hard link to a lower layer",
		layers: [][]testEntry{{dir("d"), file("d/a", "1"), hardlink("d/b", "d/a")}, {file("x", "2")}, {hardlink("c", "d/a")}},
		want:   "c=1(3 of c) d/ d/a=1(3 of c) d/b=1(3 of c) x=2",
		oracle: unpackedInOne,
	},
	{
		name:   "a hard link to a lower hard link to a layer below that",
		layers: [][]testEntry{{file("a", "1")}, {hardlink("b", "a")}, {file("a", "2"), hardlink("c", "b")}},
		want:   "a=2 b=1(3 of b) c=1(3 of b)",
		oracle: nobody,
	},
	{
		name:   "a hard link to a lower layer through a link of its own",
		layers: [][]testEntry{{dir("d"), file("d/a", "1")}, {symlink("l", "d"), hardlink("b", "l/a")}},
		want:   "b=1(2 of b) d/ d/a=1(2 of b) l->d",
		oracle: unpackedInOne,
	},
	{
		name:   "a hard link to what a layer in between has hidden",
		layers: [][]testEntry{{file("a", "1"), file("d/x", "2"), file("b", "below")}, {file(".wh.a", ""), file("d/.wh..wh..opq", "")}, {hardlink("b", "a"), hardlink("c", "d/x")}},
		want:   "b=below d/",
		hidden: []string{`entry "b": a hard link without its target`, `entry "c": a hard link without its target`},
		oracle: nobody,
	},
	{
		name:   "a hard link without a target, over a whiteout",
		layers: [][]testEntry{{file("b", "below")}, {hardlink("b", "a"), file(".wh.b", "")}},
		want:   "",
		hidden: []string{`entry "b": a hard link without its target`},
		oracle: nobody,
	},
	{
		name:   "a hard link to what comes later",
		layers: [][]testEntry{{hardlink("b", "a"), hardlink("d", "c"), hardlink("c", "b"), file("a", "1"), hardlink("e", "x"), file("e", "2")}},
		want:   "a=1(4 of a) b=1(4 of a) c=1(4 of a) d=1(4 of a) e=2",
		oracle: nobody,
	},
	{
		name:   "a hard link to itself",
		layers: [][]testEntry{{file("a", "1"), hardlink("a", "./a"), hardlink("b", "b")}},
		want:   "a=1",
		hidden: []string{`entry "b": a hard link without its target`},
		oracle: nobody,
	},
	{
		name:   "a hard link to a directory",
		layers: [][]testEntry{{dir("d"), hardlink("a", "d"), hardlink("b", "d/"), hardlink("c", "d/.."), hardlink("e", "later"), dir("later")}, {hardlink("f", "d")}},
		want:   "d/ later/",
		hidden: []string{
			`entry "a": a hard link to a directory`, `entry "b": a hard link to a directory`, `entry "c": a hard link to a directory`,
			`entry "e": a hard link to a directory`, `entry "f": a hard link without its target`,
		},
		oracle: nobody,
	},
	{
		name:   "a hard link sets the attributes of its file",
		layers: [][]testEntry{{file("a", "1").mode(0o600).xattr("user.x", "1").xattr("user.y", "1"), hardlink("b", "a").mode(0o640).xattr("user.y", "2")}},
		want:   "a=1(2 of a) b=1(2 of a)",
	},
	{
		name:   "extended attributes",
		layers: [][]testEntry{{file("a", "").xattr("user.x", "\x00\xff").xattr("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), fifo("p").xattr("user.x", "ignored"), dir("d").xattr("user.d", "1")}, {dir("d").xattr("user.e", "2")}},
		want:   "a= d/ p|",
		oracle: overlaid,
	},
	{
		name:   "many layers",
		layers: [][]testEntry{{file("d/a", "0")}, {file("d/b", "1")}, {file("d/.wh.a", "")}, {file("d/c", "3")}, {file("d/a", "4"), file("d/.wh.b", "")}, {}, {file("e/f", "6")}},
		want:   "d/ d/a=4 d/c=3 e/ e/f=6",
	},
}

func TestMerge(t *testing.T) {
	for _, c := range mergeCases {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

// run runs a case and lets containerd do so in both ways: it agrees where the case
// says that, and nowhere else.
func (c mergeCase) run(t *testing.T) {
	layers, f := c.check(t)
	for _, how := range []string{overlaid, unpackedInOne} {
		want := c.oracle == both || c.oracle == how
		if d := differs(t, how, layers, f); want != (d == "") {
			t.Errorf("containerd (%s) was said to agree: %v; differences:\n%s", how, want, d)
		}
	}
}

// check runs a case without containerd.
func (c mergeCase) check(t *testing.T) ([][]byte, *Filesystem) {
	t.Helper()
	var layers [][]byte
	for _, entries := range c.layers {
		layers = append(layers, layerOf(t, entries))
	}
	var hidden []string
	f := mergeOf(t, layers, &hidden)
	if got := summary(t, f, layers); got != c.want {
		t.Errorf("there is\n%s\nnot\n%s", got, c.want)
	}
	if !reflect.DeepEqual(hidden, c.hidden) {
		t.Errorf("hidden is %q, not %q", hidden, c.hidden)
	}
	return layers, f
}

// differs says what containerd makes of layers that we do not.
func differs(t *testing.T, how string, layers [][]byte, f *Filesystem) string {
	t.Helper()
	theirs, err := unpacked(t, how, layers)
	if err != nil {
		return err.Error()
	}
	return difference(lines(see(t, f, layers), true), lines(theirs, true))
}
