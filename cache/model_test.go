package cache

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

var errInjected = errors.New("injected")

// unreliable makes a source fail at random: with errors, panics, bodies that end
// early or drip, and answers that ignore the range.
func unreliable(from *source, random *rand.Rand) {
	var mu sync.Mutex
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		mu.Lock()
		kind, n := random.IntN(12), random.Int64N(100_000)
		mu.Unlock()
		switch kind {
		case 0:
			return nil, errInjected
		case 1:
			panic("injected")
		case 2:
			return io.LimitReader(body, n), nil
		case 3:
			return io.MultiReader(io.LimitReader(body, n), iotest.ErrReader(io.ErrUnexpectedEOF)), nil
		case 4:
			return io.MultiReader(io.LimitReader(body, n), iotest.ErrReader(errInjected)), nil
		case 5:
			return iotest.HalfReader(body), nil
		}
		return body, nil
	}
}

// damage does something to a file of a blob, as a failing disk, a kill or a user
// may.
func damage(random *rand.Rand, dir string) {
	var files []string
	for _, pattern := range []string{"partial/*/*", "blobs/sha256/*", "sums/sha256/*", "layers/sha256/*/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		files = append(files, found...)
	}
	if len(files) == 0 {
		return
	}
	path := files[random.IntN(len(files))]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return // it has moved
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return
	}
	switch at := random.Int64N(info.Size()); random.IntN(8) {
	case 0:
		_ = os.Remove(path)
	case 1:
		_ = f.Truncate(at)
	default:
		var b [1]byte
		_, _ = f.ReadAt(b[:], at)
		b[0] ^= 1 << random.IntN(8)
		_, _ = f.WriteAt(b[:], at)
	}
}

// TestModel reads at random, from two stores on a directory and two repositories,
// while sources fail and files are damaged. What is read is right, whatever
// happens; errors are those that were injected; and afterwards all is healed.
func TestModel(t *testing.T) {
	for name, c := range map[string]struct {
		rangeless, damaged bool
	}{
		"sources fail":           {},
		"rangeless sources fail": {rangeless: true},
		"disk fails":             {damaged: true},
	} {
		t.Run(name, func(t *testing.T) {
			const size, readers, reads = 40*chunkSize + 77, 6, 60
			dir := t.TempDir()
			from, d := newSource(size)
			from.rangeless = c.rangeless
			unreliable(from, rand.New(rand.NewPCG(1, 1)))
			// The real clock, by which files are not trusted at once.
			opts := Options{ErrorTTL: time.Nanosecond}
			stores := []*Store{openStoreWith(t, dir, opts), openStoreWith(t, dir, opts)}
			var group sync.WaitGroup
			for i := range uint64(readers) {
				s, repository := stores[i%2], []string{"a", "b"}[i/2%2]
				group.Go(func() { readAtRandom(t, rand.New(rand.NewPCG(2, i)), s, repository, from, reads) })
			}
			done := make(chan struct{})
			go func() { group.Wait(); close(done) }()
			for random := rand.New(rand.NewPCG(3, 3)); ; {
				select {
				case <-done:
				default:
					if c.damaged {
						damage(random, dir)
					}
					continue
				}
				break
			}
			for _, s := range stores {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			honest, _ := newSource(size)
			r := openBlobOf(t, openStoreWith(t, dir, opts), "a", d, size, honest)
			for range 3 { // a map that was damaged may cost an error or a second reading
				_, _ = readAll(t, r)
			}
			mustRead(t, openBlobOf(t, openStoreWith(t, dir, opts), "a", d, size, honest), honest.content)
		})
	}
}

// readAtRandom reads a blob at random, opening it anew now and then.
func readAtRandom(t *testing.T, random *rand.Rand, s *Store, repository string, from *source, reads int) {
	size := int64(len(from.content))
	var r *Reader
	for range reads {
		if r == nil {
			var err error
			if r, err = s.Repository(repository).Blob(digestOf(from.content), size, from).Open(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
		off := random.Int64N(size)
		p := make([]byte, random.Int64N(300_000))
		if random.IntN(4) == 0 {
			prefetch(r, off, random.Int64N(size))
		}
		n, err := r.ReadAt(t.Context(), p, off)
		if !bytes.Equal(p[:n], from.content[off:off+int64(n)]) {
			t.Errorf("%d bytes at %d are not those of the blob", n, off)
		}
		if err == nil && n < len(p) {
			t.Errorf("%d bytes of %d, and no error", n, len(p))
		}
		if !excused(err) {
			t.Error(err)
		}
		if random.IntN(5) == 0 {
			_, r = r.Close(), nil
		}
	}
	if r != nil {
		_ = r.Close()
	}
}

// excused says whether an error may come of what the test injects.
func excused(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, errInjected) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, ErrMismatch) || errors.Is(err, errUnsound) || strings.Contains(err.Error(), "panic: injected")
}
