package bench

import (
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// TestPackedLayers: a layer that is packed with a table of contents has what it had
// before, by that table.
func TestPackedLayers(t *testing.T) {
	layer := makeSystem(t, 1e6)[0]
	for _, chunked := range []bool{false, true} {
		packed := stargzed(t, layer, chunked)
		b, err := os.ReadFile(packed.path)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := v1.NewHash(packed.DigestOf)
		if err != nil {
			t.Fatal(err)
		}
		index, err := rootfs.OpenTOC(t.Context(), digest, readat.Bytes(b), packed.Annotations, nil)
		if err != nil {
			t.Fatalf("chunked %t: %v", chunked, err)
		}
		found := map[string]bool{}
		for _, e := range index.Table.All() {
			found[e.Name] = true
		}
		if !found[osRelease] || !found[program] {
			t.Errorf("chunked %t: it has %v", chunked, found)
		}
	}
}

// TestStartTrace: the program comes first, and all files are there once.
func TestStartTrace(t *testing.T) {
	trace := startTrace(t, makeLayers(t, []layerSpec{{seed: 3, size: 3e6}})[0])
	seen := map[string]bool{}
	for _, name := range trace {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	if trace[0] != program || len(trace) < 50 || len(trace) > traceLength {
		t.Errorf("%d files, the first is %s", len(trace), trace[0])
	}
}
