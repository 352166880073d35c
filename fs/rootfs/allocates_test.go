package rootfs

import (
	"runtime/metrics"
	"testing"
)

// allocates calls what parses hostile bytes, and fails where it allocates more than so many
// for each of those, besides what any input costs. All that was allocated counts,
// whether it is kept or not.
func allocates(t testing.TB, input []byte, base, each uint64, parse func()) {
	t.Helper()
	before := allocated()
	parse()
	if got, most := allocated()-before, base+each*uint64(len(input)); got > most {
		t.Fatalf("%d bytes of input take %d of memory, not %d", len(input), got, most)
	}
}

// allocated is what this process has allocated since it began, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestAllocatesNotices(t *testing.T) {
	// What is told to another one is an error there.
	var kept []byte
	other := &fails{TB: t}
	allocates(other, []byte("input"), 1<<20, 1<<10, func() { kept = make([]byte, 3<<20) })
	if !other.failed || len(kept) == 0 {
		t.Error("3 MiB are not noticed")
	}
	allocates(t, make([]byte, 3<<10), 1<<20, 1<<10, func() { kept = make([]byte, 3<<20) })
}

// fails is a test that may fail.
type fails struct {
	testing.TB
	failed bool
}

func (f *fails) Fatalf(string, ...any) { f.failed = true }
