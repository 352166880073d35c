package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestDamageIsAMiss damages what is not open.
func TestDamageIsAMiss(t *testing.T) {
	const size = 1 << 20
	damage := map[string]func(s *Store, d v1.Hash){
		"flipped byte": func(s *Store, d v1.Hash) { edit(t, s.blobPath(d), flip(size/2)) },
		"truncated": func(s *Store, d v1.Hash) {
			edit(t, s.blobPath(d), func(b []byte) []byte { return b[:size/3] })
		},
		"longer":       func(s *Store, d v1.Hash) { edit(t, s.blobPath(d), func(b []byte) []byte { return append(b, 0) }) },
		"no sums":      func(s *Store, d v1.Hash) { remove(t, s.sumsPath(d)) },
		"damaged sums": func(s *Store, d v1.Hash) { edit(t, s.sumsPath(d), flip(20)) },
		"empty sums":   func(s *Store, d v1.Hash) { edit(t, s.sumsPath(d), func([]byte) []byte { return nil }) },
		"no sums and flipped": func(s *Store, d v1.Hash) {
			remove(t, s.sumsPath(d))
			edit(t, s.blobPath(d), flip(0))
		},
		"gone": func(s *Store, d v1.Hash) { remove(t, s.blobPath(d)) },
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			dir := t.TempDir()
			first := openStore(t, dir)
			mustRead(t, openBlob(t, first, d, size, from), from.content)
			_ = first.Close()
			do(first, d)
			s := openStore(t, dir)
			r := openBlob(t, s, d, size, from)
			mustRead(t, r, from.content)
			mustRead(t, r, from.content) // what was read before the damage was found
			if !r.Verified() {
				t.Error("it is not verified afterwards")
			}
			if b, err := os.ReadFile(s.blobPath(d)); err != nil || !bytes.Equal(b, from.content) {
				t.Errorf("the file is not healed: %v", err)
			}
		})
	}
}

// withoutSums returns a store that has a whole blob, opened by nobody, whose sums
// were lost.
func withoutSums(t *testing.T, opts Options, from *source, d v1.Hash) *Store {
	t.Helper()
	dir := t.TempDir()
	first := openStore(t, dir)
	r := openBlob(t, first, d, len(from.content), from)
	mustRead(t, r, from.content)
	if err := errors.Join(r.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	remove(t, first.sumsPath(d))
	return openStoreWith(t, dir, opts)
}

// TestCloseWhileOpening ends the reading of a file that is being opened. It is not
// taken for damage.
func TestCloseWhileOpening(t *testing.T) {
	const size = 5 * chunkSize
	from, d := newSource(size)
	s := withoutSums(t, Options{}, from, d)
	s.end() // as Close does, in the middle
	if _, err := s.Repository(testRepository).Blob(d, size, from).Open(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("error %v, want %v", err, errClosed)
	}
	if _, err := os.Stat(s.blobPath(d)); err != nil {
		t.Errorf("the blob was taken for damaged: %v", err)
	}
}

// TestSumsCannotBeKept has a directory that takes no sums: blobs are right all the
// same, and the log says so once.
func TestSumsCannotBeKept(t *testing.T) {
	const size = 2 * chunkSize
	from, d := newSource(size)
	var said bytes.Buffer
	s := withoutSums(t, Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}, from, d)
	if err := os.RemoveAll(filepath.Dir(s.sumsPath(d))); err != nil {
		t.Fatal(err)
	}
	_, before := from.counts()
	for range 3 {
		r := openBlob(t, s, d, size, from)
		mustRead(t, r, from.content)
		if !r.Verified() {
			t.Error("it is not verified")
		}
		_ = r.Close()
	}
	if _, sent := from.counts(); sent != before {
		t.Errorf("%d bytes were fetched again", sent-before)
	}
	s.fetching.Wait()
	if n := strings.Count(said.String(), "sums of a blob cannot be kept"); n != 1 {
		t.Errorf("the log has it %d times:\n%s", n, said.String())
	}
}

// TestManifestLiesOfSize has a manifest, of any repository, name a blob that is
// there and another size: the blob stays for those who rightly use it.
func TestManifestLiesOfSize(t *testing.T) {
	const size = 5*chunkSize + 3
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	mustRead(t, openBlob(t, s, d, size, from), from.content)
	for _, lie := range []int64{0, 1, size - 1, size + 1, maxSize} {
		if _, err := s.Repository("hostile.example.com/a").Blob(d, lie, from).Open(t.Context()); !errors.Is(err, ErrMismatch) {
			t.Errorf("%d bytes: %v, want ErrMismatch", lie, err)
		}
	}
	_, before := from.counts()
	mustRead(t, openBlobOf(t, s, "b", d, size, from), from.content)
	if _, sent := from.counts(); sent != before {
		t.Error("the blob was fetched again")
	}
}

// TestFilesAreClosed makes the form of a blob change many times.
func TestFilesAreClosed(t *testing.T) {
	const size = 2 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content)
	s.fetching.Wait()
	before := openFiles(t)
	for range 20 {
		edit(t, s.blobPath(d), flip(0))
		mustRead(t, r, from.content)
	}
	s.fetching.Wait()
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, before it was %d", after, before)
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// FuzzWhole opens a blob whose file and sums are arbitrary: what is read are its
// bytes, or nothing.
func FuzzWhole(f *testing.F) {
	const size = 2*chunkSize + 5
	from, d := newSource(size)
	t := newTable(chunksOf(size))
	for i := range t.n {
		_, end := span{i, i + 1}.bytes(size)
		t.add(i, sum(from.content[i*chunkSize:end]))
	}
	sums := encodeSums(size, t)
	for _, sums := range [][]byte{sums, flip(18)(bytes.Clone(sums)), sums[:len(sums)-4], nil} {
		for _, fix := range []bool{false, true} {
			f.Add(uint32(0), []byte{}, uint32(size), sums, fix)
			f.Add(uint32(chunkSize), []byte("wrong"), uint32(size), sums, fix)
			f.Add(uint32(0), []byte{1}, uint32(size-1), sums, fix)
			f.Add(uint32(0), []byte{}, uint32(size+1), sums, fix)
		}
	}
	// Cut short, with sums that are sound and of that very length: no other sums
	// than the file's own digest can tell.
	f.Add(uint32(0), []byte{1}, uint32(size-1), encodeSums(size-1, t), false)
	s := openStore(f, f.TempDir())
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, length uint32, sums []byte, fix bool) {
		sums = bytes.Clone(sums)           // which are the fuzzer's
		if n := len(sums); fix && n >= 4 { // so that what is inside is looked at
			binary.BigEndian.PutUint32(sums[n-4:], sum(sums[:n-4]))
		}
		write(t, s.blobPath(d), patched(from.content, at, patch, length))
		write(t, s.sumsPath(d), sums)
		r := openBlob(t, s, d, size, from)
		mustRead(t, r, from.content)
		mustRead(t, r, from.content) // what was read before the damage was found
		_ = r.Close()
		s.fetching.Wait()
		if b, err := os.ReadFile(s.blobPath(d)); err != nil || !bytes.Equal(b, from.content) {
			t.Errorf("the file is not healed: %v", err)
		}
	})
}

// write puts a file in the place of another.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeSums(f *testing.F) {
	t := newTable(3)
	for i := range 3 {
		t.add(i, uint32(i)*12345)
	}
	f.Add(encodeSums(40000, t), int64(40000), 20, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, size int64, at int, change byte) {
		if size < 0 || size > 1<<30 {
			return
		}
		table := decodeSums(b, size)
		if table == nil {
			return
		}
		if table.n != chunksOf(size) || table.missing != 0 || !bytes.Equal(encodeSums(size, table), b) {
			t.Errorf("%d sums, %d missing, for %d bytes", table.n, table.missing, size)
		}
		if at >= 0 && change != 0 {
			b[at%len(b)] ^= change
			if decodeSums(b, size) != nil {
				t.Error("damaged, and taken")
			}
		}
	})
}
