//go:build !race

// The race detector has pools forget what they are given, now and then.

package cache

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestSmallSpansAreCheap makes spans as short as the files of an image are, with a table of
// contents, and counts what that allocates: a buffer for more would keep the collector
// busy.
func TestSmallSpansAreCheap(t *testing.T) {
	const spans, length, most = 500, 300, 64 << 10
	p := &madePlain{content: make([]byte, spans*length)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(p.content)
	for i := range int64(spans) {
		p.begins = append(p.begins, i*length)
	}
	r := openPlain(t, openStore(t, t.TempDir()).Layer(LayerID{Blob: digestOf(nil)}), p)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mustReadPlain(t, r, p.content)
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / spans; got > most {
		t.Errorf("a span of %d bytes takes %d of memory", length, got)
	}
}
