package tree

import "testing"

func TestInodeNumbers(t *testing.T) {
	seen := map[uint64]string{}
	for name, n := range map[string]uint64{
		"content":            contentIno("r", "d", "k", "n"),
		"another name":       contentIno("r", "d", "k", "m"),
		"another kind":       contentIno("r", "d", "l", "n"),
		"another digest":     contentIno("r", "e", "k", "n"),
		"another repository": contentIno("s", "d", "k", "n"),
		"shifted fields":     contentIno("rd", "", "k", "n"),
		"a path":             pathIno("r/d/k/n"),
		"another path":       pathIno("r/d/k/m"),
	} {
		if other, ok := seen[n]; ok {
			t.Errorf("%s and %s share inode %d", name, other, n)
		}
		if n < 2 || n >= 1<<63 {
			t.Errorf("%s: inode %d is out of range", name, n)
		}
		seen[n] = name
	}
	if contentIno("r", "d", "k", "n") != contentIno("r", "d", "k", "n") {
		t.Error("the same content has two inodes")
	}
}
