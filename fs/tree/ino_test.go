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
	// The same after a restart and in every program: what indexes a mount, as a
	// backup does, goes by it.
	if n := contentIno("r", "d", "k", "n"); n != 443942530838894222 {
		t.Errorf("the content has the inode %d, as it never had", n)
	}
}
