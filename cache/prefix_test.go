package cache

import (
	"errors"
	"testing"
)

// TestHashOfADroppedChunk drops a chunk between the moment when the beginning was
// found to be there and the hashing of it: what is on disk still has the sum that
// it had, and what is fetched in its place may have another.
func TestHashOfADroppedChunk(t *testing.T) {
	const size = 40 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, from.content, 0, 20*chunkSize)
	s.fetching.Wait()
	c := r.content
	f := c.current()
	if err := c.drop(f, []int{18}); err != nil {
		t.Fatal(err)
	}
	if err := c.hashUpTo(t.Context(), f, 20*chunkSize); !errors.Is(err, errMoved) {
		t.Errorf("error %v, want %v", err, errMoved)
	}
	if _, end := (span{0, 18}).bytes(size); f.prefix.hashed > end {
		t.Errorf("%d bytes are hashed, of which chunk 18 is none", f.prefix.hashed)
	}
	mustRead(t, r, from.content)
	if !r.Verified() {
		t.Error("it is not verified")
	}
}
