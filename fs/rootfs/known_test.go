package rootfs

import (
	"archive/tar"
	"slices"
	"testing"
)

// breakouts are what containerd tests that unpacking never leaves the root
// (TestBreakouts of its pkg/archive), with what is there then. Those that unpack
// over something have that as a layer of its own, and two of them come to
// something else: no link of a lower layer is followed.
var breakouts = []mergeCase{
	{name: "SymlinkAbsolute", layers: [][]testEntry{{dir("etc"), symlink("localetc", "/etc"), file("/localetc/unbroken", "u")}}, want: "etc/ etc/unbroken=u localetc->/etc"},
	{name: "SymlinkUpAndOut", layers: [][]testEntry{{dir("etc"), dir("dummy"), symlink("localetc", "/dummy/../etc"), file("/localetc/unbroken", "u")}}, want: "dummy/ etc/ etc/unbroken=u localetc->/dummy/../etc"},
	{name: "SymlinkMultipleAbsolute", layers: [][]testEntry{{dir("etc"), dir("dummy"), symlink("/dummy/etc", "/etc"), symlink("localetc", "/dummy/etc"), file("/dummy/etc/unbroken", "u")}}, want: "dummy/ dummy/etc->/etc etc/ etc/unbroken=u localetc->/dummy/etc"},
	{name: "SymlinkMultipleRelative", layers: [][]testEntry{{dir("etc"), dir("dummy"), symlink("/dummy/etc", "/etc"), symlink("localetc", "./dummy/etc"), file("/localetc/unbroken", "u")}}, want: "dummy/ dummy/etc->/etc etc/ etc/unbroken=u localetc->./dummy/etc"},
	{name: "SymlinkEmptyFile", layers: [][]testEntry{{dir("etc"), file("etc/emptied", "notempty"), symlink("localetc", "/etc"), file("/localetc/emptied", "")}}, want: "etc/ etc/emptied= localetc->/etc"},
	{name: "HardlinkRelative", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), dir("breakouts"), symlink("breakouts/d1", "../../etc"), hardlink("breakouts/mypasswd", "/breakouts/d1/passwd")}}, want: "breakouts/ breakouts/d1->../../etc breakouts/mypasswd=in(2 of breakouts/mypasswd) etc/ etc/passwd=in(2 of breakouts/mypasswd)"},
	{name: "HardlinkDownAndOut", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), dir("breakouts"), dir("downandout"), symlink("breakouts/d1", "../downandout/../../etc"), hardlink("breakouts/mypasswd", "/breakouts/d1/passwd")}}, want: "breakouts/ breakouts/d1->../downandout/../../etc breakouts/mypasswd=in(2 of breakouts/mypasswd) downandout/ etc/ etc/passwd=in(2 of breakouts/mypasswd)"},
	{name: "HardlinkAbsolute", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc", "/etc"), hardlink("localpasswd", "/localetc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localetc->/etc localpasswd=in(2 of etc/passwd)"},
	{name: "HardlinkRelativeLong", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc", "../../../../../../../etc"), hardlink("localpasswd", "/localetc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localetc->../../../../../../../etc localpasswd=in(2 of etc/passwd)"},
	{name: "HardlinkRelativeUpAndOut", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc", "upandout/../../../etc"), hardlink("localpasswd", "/localetc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localetc->upandout/../../../etc localpasswd=in(2 of etc/passwd)"},
	{name: "HardlinkDirectRelative", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), hardlink("localpasswd", "../../../../../etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localpasswd=in(2 of etc/passwd)"},
	{name: "HardlinkDirectAbsolute", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), hardlink("localpasswd", "/etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localpasswd=in(2 of etc/passwd)"},
	{name: "SymlinkParentDirectory", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("..", "/etc/"), hardlink("localpasswd", "/etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localpasswd=in(2 of etc/passwd)"},
	{name: "SymlinkEmptyFilename", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("", "/etc/"), hardlink("localpasswd", "/etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localpasswd=in(2 of etc/passwd)"},
	{name: "SymlinkParentRelative", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc/sub/..", "/etc/"), hardlink("/localetc/localpasswd", "/etc/passwd")}}, want: "etc/ etc/localpasswd=in(2 of etc/localpasswd) etc/passwd=in(2 of etc/localpasswd) localetc->/etc/"},
	{name: "SymlinkSlashEnded", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), dir("localetc/"), hardlink("/localetc/localpasswd", "/etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localetc/ localetc/localpasswd=in(2 of etc/passwd)"},
	{name: "SymlinkOverrideDirectory", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), dir("localetc")}, {symlink("localetc", "/etc"), hardlink("/localetc/localpasswd", "/etc/passwd")}}, want: "etc/ etc/localpasswd=in(2 of etc/localpasswd) etc/passwd=in(2 of etc/localpasswd) localetc->/etc", oracle: unpackedInOne},
	{name: "SymlinkOverrideDirectoryRelative", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), dir("localetc")}, {symlink("localetc", "../../etc"), hardlink("/localetc/localpasswd", "/etc/passwd")}}, want: "etc/ etc/localpasswd=in(2 of etc/localpasswd) etc/passwd=in(2 of etc/localpasswd) localetc->../../etc", oracle: unpackedInOne},
	{name: "DirectoryOverrideSymlink", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc", "/etc")}, {dir("/localetc/"), hardlink("/localetc/localpasswd", "/etc/passwd")}}, want: "etc/ etc/passwd=in(2 of etc/passwd) localetc/ localetc/localpasswd=in(2 of etc/passwd)", oracle: unpackedInOne},
	{name: "DirectoryOverrideSymlinkAndHardlink", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("localetc", "etc"), hardlink("/localetc/localpasswd", "/etc/passwd")}, {dir("/localetc/"), file("/localetc/localpasswd", "different")}}, want: "etc/ etc/localpasswd=in(2 of etc/localpasswd) etc/passwd=in(2 of etc/localpasswd) localetc/ localetc/localpasswd=different"},
	{name: "WhiteoutRootParent", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in")}, {file(".wh...", "")}}, want: "etc/ etc/passwd=in", hidden: []string{`entry ".wh...": a whiteout of nothing`}, oracle: nobody},
	{name: "WhiteoutParent", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in")}, {file("etc/.wh...", "")}}, want: "etc/ etc/passwd=in", hidden: []string{`entry "etc/.wh...": a whiteout of nothing`}, oracle: nobody},
	{name: "WhiteoutRoot", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in")}, {file(".wh..", "")}}, want: "etc/ etc/passwd=in", hidden: []string{`entry ".wh..": a whiteout of nothing`}, oracle: nobody},
	{name: "WhiteoutCurrentDirectory", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in")}, {file("etc/.wh..", "")}}, want: "etc/ etc/passwd=in", hidden: []string{`entry "etc/.wh..": a whiteout of nothing`}, oracle: nobody},
	{name: "WhiteoutSymlink", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), symlink("localetc", "/etc")}, {file(".wh.localetc", "")}}, want: "etc/ etc/passwd=all"},
	{name: "WhiteoutSymlinkPath", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), file("/etc/whitedout", "ahhhh"), symlink("localetc", "/etc")}, {file("localetc/.wh.whitedout", "")}}, want: "etc/ etc/passwd=all etc/whitedout=ahhhh localetc/", oracle: overlaid},
	{name: "WhiteoutDirectoryName", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), file("/etc/whitedout", "ahhhh"), symlink("localetc", "/etc")}, {file(".wh.etc/somefile", "non-empty")}}, want: ".wh.etc/ .wh.etc/somefile=non-empty etc/ etc/passwd=all etc/whitedout=ahhhh localetc->/etc"},
	{name: "WhiteoutDeadSymlinkParent", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), symlink("localetc", "/dne")}, {file("localetc/.wh.etc", "")}}, want: "etc/ etc/passwd=all localetc/", oracle: overlaid},
	{name: "WhiteoutRelativePath", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), symlink("localetc", "/dne")}, {file("dne/../.wh.etc", "")}}, want: "localetc->/dne"},
	{name: "WhiteoutOpaque", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all"), file("/etc/shadow", "secret")}, {file("etc/.wh..wh..opq", ""), file("etc/group", "groups")}}, want: "etc/ etc/group=groups"},
	{name: "WhiteoutOpaqueOutOfOrder", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "all")}, {file("etc/group", "groups"), file("etc/.wh..wh..opq", "")}}, want: "etc/ etc/group=groups"},
	{name: "SymlinkOverridePath", layers: [][]testEntry{{dir("foo"), dir("foo/tmp"), file("foo/tmp/breakout", "012"), symlink("foo", "/"), file("foo/tmp/breakout", "345"), dir("foo"), dir("foo/tmp"), file("foo/tmp/breakout", "678")}}, want: "foo/ foo/tmp/ foo/tmp/breakout=678 tmp/ tmp/breakout=345"},
	{name: "HardlinkSymlinkBeforeCreateTarget", layers: [][]testEntry{{dir("etc"), symlink("localpasswd", "/etc/passwd"), hardlink("localpasswd-dup", "localpasswd"), file("/etc/passwd", "after")}}, want: "etc/ etc/passwd=after localpasswd->/etc/passwd(2 of localpasswd) localpasswd-dup->/etc/passwd(2 of localpasswd)"},
	{name: "HardlinkSymlinkRelative", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("passwdlink", "../../../../../etc/passwd"), hardlink("localpasswd", "/passwdlink")}}, want: "etc/ etc/passwd=in localpasswd->../../../../../etc/passwd(2 of localpasswd) passwdlink->../../../../../etc/passwd(2 of localpasswd)"},
	{name: "HardlinkSymlinkAbsolute", layers: [][]testEntry{{dir("etc"), file("/etc/passwd", "in"), symlink("passwdlink", "/etc/passwd"), hardlink("localpasswd", "/passwdlink")}}, want: "etc/ etc/passwd=in localpasswd->/etc/passwd(2 of localpasswd) passwdlink->/etc/passwd(2 of localpasswd)"},
	{name: "HardlinkSymlinkChmod", layers: [][]testEntry{{symlink("/out/side", "/perm400"), hardlink("sketchylink", "/out/side")}}, want: "out/ out/side->/perm400(2 of out/side) sketchylink->/perm400(2 of out/side)"},
	{name: "DirectoryCreation", layers: [][]testEntry{{dir("/etc/")}, {dir("/etc/subdir"), dir("/etc/subdir2/"), dir("/etc/subdir2/more"), dir("/other/noparent-1/1"), dir("/other/noparent-2/2/")}}, want: "etc/ etc/subdir/ etc/subdir2/ etc/subdir2/more/ other/ other/noparent-1/ other/noparent-1/1/ other/noparent-2/ other/noparent-2/2/"},
}

func TestBreakouts(t *testing.T) {
	for _, c := range breakouts {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

// An opaqueEntry is in a directory that a layer makes opaque, and if upper is set it
// is in that layer too.
type opaqueEntry struct {
	testEntry
	upper bool
}

// opaqueCases are what umoci tests opaque whiteouts with (TestUnpackOpaqueWhiteout
// of its oci/layer): of each name what the upper layer has, and no other, has to
// remain, wherever in the layer the whiteout is.
var opaqueCases = []struct {
	name    string
	entries []opaqueEntry
	want    string // of what remains in d
}{
	{"EmptyDir", nil, ""},
	{"OneLevel", []opaqueEntry{
		{file("file", "f"), false}, {symlink("link", ".."), true}, {symlink("badlink", "./nothing"), true}, {fifo("fifo"), false},
	}, " d/badlink->./nothing d/link->.."},
	{"OneLevelNoUpper", []opaqueEntry{
		{file("file", "f"), false}, {symlink("link", ".."), false}, {symlink("badlink", "./nothing"), false}, {fifo("fifo"), false},
	}, ""},
	{"TwoLevel", []opaqueEntry{
		{file("file", "f"), true}, {symlink("link", ".."), false}, {symlink("badlink", "./nothing"), false}, {dir("dir"), true},
		{file("dir/file", "g"), true}, {symlink("dir/link", "../badlink"), false},
		{symlink("dir/verybadlink", "../../../../etc/shadow"), true}, {symlink("dir/verybadlink2", "/../../../etc/shadow"), false},
	}, " d/dir/ d/dir/file=g d/dir/verybadlink->../../../../etc/shadow d/file=f"},
	{"MultiLevel", []opaqueEntry{
		{file("level1_file", "1"), true}, {symlink("level1_link", ".."), false}, {dir("level1a"), true},
		{file("level1a/level2_file", "2"), false}, {symlink("level1a/level2_link", "../../../"), true}, {dir("level1a/level2a"), false},
		{file("level1a/level2a/level3_fileA", "3"), false}, {file("level1a/level2a/level3_fileB", "4"), false}, {dir("level1a/level2b"), true},
		{file("level1a/level2b/level3_fileA", "5"), true}, {file("level1a/level2b/level3_fileB", "6"), false}, {dir("level1a/level2b/level3"), false},
		{dir("level1a/level2b/level3/level4"), false}, {dir("level1a/level2b/level3/level4"), false}, {file("level1a/level2b/level3_fileA", "7"), true},
		{dir("level1b"), false}, {file("level1b/level2_fileA", "8"), false}, {file("level1b/level2_fileB", "9"), false},
		{dir("level1b/level2"), false}, {file("level1b/level2/level3_file", "10"), false},
	}, " d/level1_file=1 d/level1a/ d/level1a/level2_link->../../../ d/level1a/level2b/ d/level1a/level2b/level3_fileA=7"},
	{"MissingUpperAncestor", []opaqueEntry{
		{dir("some"), false}, {dir("some/dir"), false}, {file("some/dir/somewhere", "1"), true},
		{dir("another"), false}, {dir("another/dir"), false}, {file("another/dir/somewhere", "2"), false},
	}, " d/some/ d/some/dir/ d/some/dir/somewhere=1"},
	{"UpperWhiteout", []opaqueEntry{
		{file(".wh.fileB", ""), true}, {file("fileA", "a"), true}, {file("fileB", "b"), true}, {file("fileC", "c"), false},
		{file(".wh.fileA", ""), true}, {file(".wh.fileC", ""), true},
	}, " d/fileA=a d/fileB=b"},
	{"UpperDirWhiteout", []opaqueEntry{
		{file(".wh.dir2", ""), true}, {file("file", "f"), false}, {dir("dir1"), true}, {file("dir1/file", "1"), true},
		{symlink("dir1/link", "../badlink"), false}, {symlink("dir1/verybadlink", "../../../../etc/shadow"), true},
		{symlink("dir1/verybadlink2", "/../../../etc/shadow"), false}, {file(".wh.dir1", ""), true}, {dir("dir2"), true},
		{file("dir2/file", "2"), true}, {symlink("dir2/link", "../badlink"), false},
	}, " d/dir1/ d/dir1/file=1 d/dir1/verybadlink->../../../../etc/shadow d/dir2/ d/dir2/file=2"},
}

// opaqueMergeCases are the opaqueCases, with the whiteout before, between and behind the
// entries of the upper layer. With whiteouts of what the layer has too containerd
// fails.
func opaqueMergeCases() []mergeCase {
	var cases []mergeCase
	for _, c := range opaqueCases {
		lower, upper := []testEntry{dir("d").mode(0o750)}, []testEntry{}
		oracle := overlaid
		for _, e := range c.entries {
			e.Name = "d/" + e.Name
			if e.Typeflag == tar.TypeReg && len(e.content) == 0 {
				oracle = nobody // it is a whiteout, of the upper layer alone
			} else {
				lower = append(lower, e.testEntry)
			}
			if e.upper {
				upper = append(upper, e.testEntry)
			}
		}
		marker := file("d/"+opaqueMarker, "")
		for _, at := range []int{0, len(upper) / 2, len(upper)} {
			cases = append(cases, mergeCase{
				name: c.name, oracle: oracle, want: "d/(750)" + c.want,
				layers: [][]testEntry{lower, slices.Insert(slices.Clone(upper), at, marker)},
			})
		}
	}
	return cases
}

func TestOpaqueWhiteouts(t *testing.T) {
	for _, c := range opaqueMergeCases() {
		t.Run(c.name, func(t *testing.T) {
			layers, f := c.check(t)
			if d := differs(t, overlaid, layers, f); (d == "") != (c.oracle == overlaid) {
				t.Errorf("containerd differs:\n%s", d)
			}
		})
	}
}
