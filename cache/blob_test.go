package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var sizes = []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 5*chunkSize + 17, 1<<20 + 5}

func TestReader(t *testing.T) {
	for _, size := range sizes {
		for _, rangeless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, rangeless %t", size, rangeless), func(t *testing.T) {
				from, d := newSource(size)
				from.rangeless = rangeless
				s := openStore(t, t.TempDir())
				r := openBlob(t, s, d, size, from)
				random := rand.New(rand.NewPCG(3, uint64(size)))
				for range 200 {
					off := random.Int64N(int64(size) + 1)
					p := make([]byte, random.IntN(70_000))
					n, err := r.ReadAt(t.Context(), p, off)
					if err != nil && !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
					if !bytes.Equal(p[:n], from.content[off:min(off+int64(len(p)), int64(size))]) {
						t.Fatalf("%d bytes at %d differ", len(p), off)
					}
				}
				mustRead(t, r, from.content)
				if !r.Verified() {
					t.Error("all of it was read, and it is not verified")
				}
				whole, err := os.ReadFile(s.blobPath(d))
				if err != nil || !bytes.Equal(whole, from.content) {
					t.Errorf("blobs/sha256 does not hold the blob: %v", err)
				}
				before, _ := from.counts()
				mustRead(t, r, from.content)
				mustRead(t, openBlob(t, openStore(t, s.Dir()), d, size, from), from.content)
				if after, _ := from.counts(); after != before {
					t.Errorf("%d requests for what was there", after-before)
				}
			})
		}
	}
}

// TestReaderContract is io.ReaderAt's, byte by byte.
func TestReaderContract(t *testing.T) {
	const size = chunkSize + 1000
	from, d := newSource(size)
	r := openBlob(t, openStore(t, t.TempDir()), d, size, from)
	if err := iotest.TestReader(io.NewSectionReader(readerAt{t.Context(), r}, 0, size), from.content); err != nil {
		t.Fatal(err)
	}
	if n, err := r.ReadAt(t.Context(), make([]byte, 2), size-1); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err := r.ReadAt(t.Context(), make([]byte, 2), size); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := r.ReadAt(t.Context(), make([]byte, 2), -1); err == nil {
		t.Error("a read before the beginning was answered")
	}
}

func TestSmallReadFetchesLittle(t *testing.T) {
	from, d := newSource(10 << 20)
	r := openBlob(t, openStore(t, t.TempDir()), d, 10<<20, from)
	mustReadAt(t, r, from.content, 5<<20, 10<<10)
	if _, sent := from.counts(); sent > 2*chunkSize {
		t.Errorf("%d bytes fetched for 10 KiB", sent)
	}
}

// TestOpenRefuses has digests and sizes as a hostile manifest may name them.
func TestOpenRefuses(t *testing.T) {
	s := openStore(t, t.TempDir())
	good := digestOf(nil).Hex
	for _, c := range []struct {
		digest v1.Hash
		size   int64
	}{
		{v1.Hash{Algorithm: "sha512", Hex: good}, 1},
		{v1.Hash{Algorithm: "sha256", Hex: "../../../../etc/passwd"}, 1},
		{v1.Hash{Algorithm: "sha256", Hex: good[:63] + "G"}, 1},
		{v1.Hash{}, 1},
		{v1.Hash{Algorithm: "sha256", Hex: good}, -1},
		{v1.Hash{Algorithm: "sha256", Hex: good}, maxSize + 1},
		{v1.Hash{Algorithm: "sha256", Hex: good}, 1<<63 - 1},
	} {
		if _, err := s.Repository(testRepository).Blob(c.digest, c.size, zeros).Open(t.Context()); err == nil {
			t.Errorf("%s of %d bytes was opened", c.digest, c.size)
		}
	}
	if open := s.Stats().Open; open != 0 {
		t.Errorf("%d blobs are open", open)
	}
}

// TestHugeBlob has one that its manifest says is a terabyte: it costs what is
// read of it.
func TestHugeBlob(t *testing.T) {
	s := openStore(t, t.TempDir())
	r, err := s.Repository(testRepository).Blob(digestOf(nil), maxSize, zeros).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	prefetch(r, maxSize-1, 1<<62) // no further than its end
	for _, off := range []int64{0, maxSize/2 - 1, maxSize - 1} {
		if _, err := r.ReadAt(t.Context(), make([]byte, 1), off); err != nil {
			t.Error(err)
		}
	}
	pages := 0
	for _, p := range r.content.form.chunks.pages {
		if p != nil {
			pages++
		}
	}
	if pages > 4 {
		t.Errorf("%d pages of memory for three bytes", pages)
	}
}

// A manifest that gives a large blob another size does not have all of it read each time
// that somebody opens it: the stamp says that it is right.
func TestAnotherSizeCostsNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	write(t, s.blobPath(d), nil)
	if err := os.Truncate(s.blobPath(d), 1<<37); err != nil {
		t.Skip(err) // no file is so long there
	}
	write(t, s.sumsPath(d), nil)
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		t.Fatal(err)
	}
	s.stamp(d, f)
	_ = f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := s.Repository(testRepository).Blob(d, 1000, nil).Open(ctx); !errors.Is(err, ErrMismatch) {
		t.Errorf("%v, want ErrMismatch", err)
	}
	if !exists(s.blobPath(d)) {
		t.Error("it was removed")
	}
}
