package cache

import (
	"errors"
	"hash"
	"strings"
	"testing"
)

// brittle is a hash that panics.
type brittle struct{ hash.Hash }

func (brittle) Write([]byte) (int, error) { panic("oh") }

// TestHashingPanics has a panic beside the download, and one in the download: it
// is the error of who needs the digest, and holds nobody up.
func TestHashingPanics(t *testing.T) {
	const size = 3 * hashAhead
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	c := r.content
	c.mu.Lock()
	c.form.prefix = &prefix{digest: brittle{}}
	c.mu.Unlock()
	mustReadAt(t, r, from.content, 0, 2*hashAhead)
	s.fetching.Wait()
	for range 2 {
		if _, err := readAll(t, r); err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("error %v, want that of the panic", err)
		}
	}
	c.mu.Lock()
	c.form.prefix = newPrefix()
	c.mu.Unlock()
	mustRead(t, r, from.content)
	if !r.Verified() {
		t.Error("it is not verified")
	}
}

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
