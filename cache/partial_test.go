package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestResume takes a copy of the directory in the middle of a download, as a
// kill would leave it, and goes on from there.
func TestResume(t *testing.T) {
	const size = 4 << 20
	_, d := newSource(size)
	for name, c := range map[string]struct {
		have   int64
		damage func(s *Store)
		want   int64 // to be fetched
	}{
		"three quarters":    {3 << 20, func(*Store) {}, 1 << 20},
		"all but the last":  {size - chunkSize, func(*Store) {}, chunkSize},
		"lost SHA state":    {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d)+".map", flip(40)) }, 1 << 20},
		"lost record":       {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d)+".map", flip(headerSize+5)) }, 1<<20 + chunkSize},
		"cut map":           {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d)+".map", cut(headerSize)) }, size},
		"no map":            {3 << 20, func(s *Store) { remove(t, s.partialPath(testRepository, d)+".map") }, size},
		"no data":           {3 << 20, func(s *Store) { remove(t, s.partialPath(testRepository, d)) }, size},
		"cut data":          {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d), cut(100)) }, size},
		"flipped data":      {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d), flip(100)) }, 1<<20 + chunkSize},
		"a hole after all":  {3 << 20, func(s *Store) { edit(t, s.partialPath(testRepository, d), hole(chunkSize)) }, 1<<20 + chunkSize},
		"nothing but begun": {0, func(*Store) {}, size},
	} {
		t.Run(name, func(t *testing.T) {
			from, _ := newSource(size)
			first := openStore(t, t.TempDir())
			r := openBlob(t, first, d, size, from)
			mustReadAt(t, r, from.content, 0, c.have)
			killed := t.TempDir()
			if err := os.CopyFS(killed, os.DirFS(first.Dir())); err != nil {
				t.Fatal(err)
			}
			again, _ := newSource(size)
			s := openStore(t, killed)
			c.damage(s)
			r = openBlob(t, s, d, size, again)
			mustRead(t, r, again.content)
			if _, sent := again.counts(); sent != c.want {
				t.Errorf("%d bytes fetched after the kill, want the missing %d", sent, c.want)
			}
			if !r.Verified() {
				t.Error("it is not verified")
			}
		})
	}
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
func hole(n int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[:n]); return b }
}

// TestKilledBeforeTheBlobMoved leaves everything on disk, verified by nobody:
// nothing is left to fetch.
func TestKilledBeforeTheBlobMoved(t *testing.T) {
	const size = 40*chunkSize + 7
	for name, flipped := range map[string]bool{"right": false, "wrong": true} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			s := openStore(t, t.TempDir())
			data := bytes.Clone(from.content)
			if flipped {
				data[size/2] ^= 1
			}
			writePartial(t, s, data)
			r := openBlob(t, s, d, size, from)
			_, err := readAll(t, r)
			if flipped {
				if !errors.Is(err, ErrMismatch) {
					t.Errorf("error %v, want ErrMismatch", err)
				}
				r = openBlob(t, s, d, size, from)
				mustRead(t, r, from.content) // whoever comes next begins anew
			} else if requests, _ := from.counts(); err != nil || requests != 0 {
				t.Errorf("%d requests: %v", requests, err)
			}
			if !r.Verified() {
				t.Error("it is not verified")
			}
		})
	}
}

// writePartial writes a partial file of newSource's blob, complete but for its
// digest, that holds data.
func writePartial(t testing.TB, s *Store, data []byte) {
	t.Helper()
	_, d := newSource(len(data))
	_ = openBlob(t, s, d, len(data), zeros).Close()
	path := s.partialPath(testRepository, d)
	write(t, path, data)
	write(t, path+".map", mapOf(data, 0))
}

// mapOf is the map of a partial file that holds data, with the SHA-256 of its
// first hashed bytes.
func mapOf(data []byte, hashed int64) []byte {
	size := int64(len(data))
	p := &prefix{digest: sha256.New(), hashed: hashed}
	p.digest.Write(data[:hashed])
	chunks := newTable(chunksOf(size))
	var records []byte
	for i := range chunks.n {
		from, to := span{i, i + 1}.bytes(size)
		chunks.add(i, sum(data[from:to]))
		records = appendRecord(records, i, sum(data[from:to]))
	}
	for i := range chunksOf(hashed) {
		p.sums = addSums(p.sums, chunks.sum(i))
	}
	header, err := encodeHeader(size, p)
	if err != nil {
		panic(err)
	}
	return append(header, records...)
}

// TestStaleHash has a header whose SHA-256 is over other bytes than those that
// are there, though each of those has its sum: as when a chunk was found damaged
// and a registry sent something else in its place. The blob is not right.
func TestStaleHash(t *testing.T) {
	const size = 8 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	wrong := flip(10)(bytes.Clone(from.content))
	writePartial(t, s, wrong)
	stale := mapOf(wrong, 0)
	copy(stale, mapOf(from.content, 4*chunkSize)[:headerSize])
	write(t, s.partialPath(testRepository, d)+".map", stale)
	if _, err := readAll(t, openBlob(t, s, d, size, from)); !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want ErrMismatch", err)
	}
}

// TestTwoSizes has two manifests of a repository that give one digest different
// sizes.
func TestTwoSizes(t *testing.T) {
	const size = 6 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	right, wrong := openBlob(t, s, d, size, from), openBlob(t, s, d, size-100, from)
	for off := int64(0); off < size; off += chunkSize {
		mustReadAt(t, right, from.content, off, 100)
		// What the one has the other loses: its last chunk is not handed out before
		// all of it is there again.
		if _, err := wrong.ReadAt(t.Context(), make([]byte, 100), off); err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("the wrong size, at %d: %v, want ErrMismatch", off, err)
		}
	}
	if _, err := readAll(t, wrong); !errors.Is(err, ErrMismatch) {
		t.Errorf("the wrong size: %v, want ErrMismatch", err)
	}
	mustRead(t, right, from.content)
}

// patched is what a fuzzer makes of a blob: something at a place, and another
// length. It is told that, not all bytes: it is faster with short inputs.
func patched(content []byte, at uint32, patch []byte, length uint32) []byte {
	b := make([]byte, max(int(length)%(2*len(content)), 1))
	copy(b, content)
	copy(b[int(at)%len(b):], patch)
	return b
}

// FuzzPartial opens a blob whose partial file and map are arbitrary: whoever
// reads it to its end has its bytes, or an error; after at most one such error
// it is healed.
func FuzzPartial(f *testing.F) {
	const size = 4*chunkSize + 5
	from, d := newSource(size)
	good := mapOf(from.content, 2*chunkSize)
	wrong := patched(from.content, chunkSize, []byte("wrong"), size)
	mixed := append(bytes.Clone(good[:headerSize]), mapOf(wrong, 0)[headerSize:]...)
	for _, mapping := range [][]byte{good, mapOf(wrong, 0), mixed, good[:headerSize+3*recordSize+1], make([]byte, len(good)), nil} {
		for _, fix := range []bool{false, true} {
			f.Add(uint32(0), []byte{}, uint32(size), mapping, fix)
			f.Add(uint32(chunkSize), []byte("wrong"), uint32(size), mapping, fix)
			f.Add(uint32(0), []byte{1}, uint32(3*chunkSize), mapping, fix)
		}
	}
	s := openStore(f, f.TempDir())
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, length uint32, mapping []byte, fix bool) {
		data := patched(from.content, at, patch, length)
		mapping = bytes.Clone(mapping) // which is the fuzzer's
		if fix {                       // so that what is inside is looked at
			fixMap(data, mapping)
		}
		path := s.partialPath(testRepository, d)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, data)
		write(t, path+".map", mapping)
		for tries := 0; ; tries++ {
			r := openBlob(t, s, d, size, from)
			got, err := readAll(t, r)
			_ = r.Close()
			s.fetching.Wait()
			if err == nil && bytes.Equal(got, from.content) {
				break
			}
			if !errors.Is(err, ErrMismatch) || len(got) == size || tries > 0 {
				t.Fatalf("try %d: %d bytes, %v", tries, len(got), err)
			}
		}
		b, err := os.ReadFile(s.blobPath(d))
		if err != nil || !bytes.Equal(b, from.content) {
			t.Fatalf("the blob is not there: %v", err)
		}
		remove(t, s.blobPath(d))
	})
}

// fixMap makes the sums of a map fit what is in it, and its records the data.
func fixMap(data, mapping []byte) {
	if len(mapping) < headerSize {
		return
	}
	binary.BigEndian.PutUint32(mapping[headerSize-4:], sum(mapping[:headerSize-4]))
	for i := 0; recordOffset(i+1) <= int64(len(mapping)) && i < chunksOf(int64(len(data))); i++ {
		from, to := span{i, i + 1}.bytes(int64(len(data)))
		copy(mapping[recordOffset(i):], appendRecord(nil, i, sum(data[from:to])))
	}
}

// TestTruncatedWhileFilled cuts the file below a download, before its beginning
// is hashed: it is a miss, and the blob is made whole all the same.
func TestTruncatedWhileFilled(t *testing.T) {
	const size = 3 << 20
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	blocked := newGate()
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		if request == 1 {
			return body, nil
		}
		return io.MultiReader(io.LimitReader(body, chunkSize), blocked, body), nil
	}
	prefetch(r, 0, hashAhead-chunkSize) // not enough to be hashed
	mustReadAt(t, r, from.content, 0, hashAhead-chunkSize)
	prefetch(r, hashAhead, size-hashAhead)
	<-blocked.waits
	if err := os.Truncate(s.partialPath(testRepository, d), 3*chunkSize+100); err != nil {
		t.Fatal(err)
	}
	blocked.pass()
	mustRead(t, r, from.content)
	if !r.Verified() {
		t.Error("it is not verified")
	}
}
