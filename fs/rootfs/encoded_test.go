package rootfs

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/internal/layers"
)

// encodedMerge lays layers over each other that are stored in some way, by the tables
// of contents that they bring or by a pass over each, and by what is kept of those. It
// also returns what Entry.Data is an offset in, of each layer.
func encodedMerge(t testing.TB, archives [][]byte, e layers.Encoding, toc bool) (*Filesystem, [][]byte) {
	t.Helper()
	var trees []*LayerTree
	var plains [][]byte
	for _, archive := range archives {
		l, err := e.Encode(archive)
		if err != nil {
			t.Fatal(err)
		}
		var x *Index
		if toc {
			x, err = OpenTOC(t.Context(), digestOf(l.Blob), readat.Bytes(l.Blob), l.Annotations, nil)
		} else {
			var streamed bytes.Buffer
			x, err = Pass(t.Context(), digestOf(l.Blob), bytes.NewReader(l.Blob), &streamed, PassOptions{})
			if err == nil && x.DiffID != l.DiffID {
				t.Fatalf("the plain bytes are %s, want %s", x.DiffID, l.DiffID)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if x, err = ParseIndex(stored(t, x), x.Blob); err != nil {
			t.Fatal(err)
		}
		tree, err := NewLayerTree(x.Table, nil)
		if err != nil {
			t.Fatal(err)
		}
		plain := make([]byte, x.Size())
		if n, err := x.Plain(readat.Bytes(l.Blob)).ReadAt(t.Context(), plain, 0); n < len(plain) {
			t.Fatalf("%d of %d bytes: %v", n, len(plain), err)
		}
		trees, plains = append(trees, tree), append(plains, plain)
	}
	return NewFilesystem(trees, nil), plains
}

// bySecond is what was seen, with times in whole seconds.
func bySecond(seen []seenFile) []seenFile {
	seen = slices.Clone(seen)
	for i := range seen {
		seen[i].Nanos = 0
	}
	return seen
}
