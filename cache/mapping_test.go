package cache

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzDecodeHeader decodes arbitrary headers, and damages good ones.
func FuzzDecodeHeader(f *testing.F) {
	const size = 3*chunkSize + 1
	from, _ := newSource(size)
	chunks := newTable(chunksOf(size))
	for i := range chunks.n {
		from, to := span{i, i + 1}.bytes(size)
		chunks.add(i, sum(newContentBytes(size)[from:to]))
	}
	f.Add(mapOf(from.content, 2*chunkSize)[:headerSize], 1, byte(0))
	f.Add(mapOf(from.content, size)[:headerSize], 30, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at int, change byte) {
		p := decodeHeader(b, size, chunks)
		if p.hashed < 0 || p.hashed > size || p.digest == nil {
			t.Fatalf("it covers %d of %d bytes", p.hashed, size)
		}
		if p.hashed == 0 {
			return
		}
		again, err := encodeHeader(size, p)
		if err != nil || !bytes.Equal(again, b[:headerSize]) {
			t.Errorf("it is not what was encoded: %v", err)
		}
		if at >= 0 && change != 0 {
			again[at%headerSize] ^= change
			if decodeHeader(again, size, chunks).hashed != 0 {
				t.Error("damaged, and taken")
			}
		}
	})
}

func newContentBytes(n int) []byte {
	from, _ := newSource(n)
	return from.content
}

// TestHeader goes on with the SHA-256 that a header keeps, if its chunks are
// there.
func TestHeader(t *testing.T) {
	const size = 3*chunkSize + 1
	content := newContentBytes(size)
	good := mapOf(content, 2*chunkSize)[:headerSize]
	complete := func() *table {
		chunks := newTable(chunksOf(size))
		for i := range chunks.n {
			from, to := span{i, i + 1}.bytes(size)
			chunks.add(i, sum(content[from:to]))
		}
		return chunks
	}
	p := decodeHeader(good, size, complete())
	if p.hashed != 2*chunkSize {
		t.Fatalf("%d bytes are hashed", p.hashed)
	}
	p.digest.Write(content[p.hashed:])
	if want := sha256.Sum256(content); !bytes.Equal(p.digest.Sum(nil), want[:]) {
		t.Error("it goes on to another digest")
	}
	for name, change := range map[string]func(*table){
		"a chunk is missing":        func(c *table) { c.drop(1) },
		"a chunk is another":        func(c *table) { c.drop(1); c.add(1, 77) },
		"a chunk is held, not here": func(c *table) { c.drop(0); c.hold(0, c.sum(0)) },
	} {
		chunks := complete()
		change(chunks)
		if p := decodeHeader(good, size, chunks); p.hashed != 0 {
			t.Errorf("%s: %d bytes count as hashed", name, p.hashed)
		}
	}
	if p := decodeHeader(good, size+1, complete()); p.hashed != 0 {
		t.Error("a header of another size is taken")
	}
}

// FuzzReadRecords writes records at arbitrary places, and arbitrary bytes over
// them: a record that is read was written for that chunk, or is as long as 32
// bits can tell.
func FuzzReadRecords(f *testing.F) {
	f.Add(uint16(3), uint32(7), []byte{}, uint16(0))
	f.Add(uint16(9000), uint32(1<<31), []byte{1, 2, 3, 4, 5, 6, 7, 8}, uint16(8999))
	path := filepath.Join(f.TempDir(), "map")
	f.Fuzz(func(t *testing.T, chunk uint16, crc uint32, junk []byte, at uint16) {
		b := make([]byte, recordOffset(int(chunk)))
		b = appendRecord(b, int(chunk), crc)
		copied := copy(b[min(int(recordOffset(int(at))), len(b)):], junk)
		write(t, path, b)
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		var got []recorded
		if err := readRecords(file, span{0, 1 << 17}, func(found []recorded) { got = append(got, found...) }); err != nil {
			t.Fatal(err)
		}
		written := recorded{int(chunk), crc}
		if copied == 0 && !slices.Equal(got, []recorded{written}) {
			t.Errorf("read %v, wrote %v", got, written)
		}
		for _, r := range got {
			if !bytes.Equal(b[recordOffset(r.chunk):][:recordSize], appendRecord(nil, r.chunk, r.crc)) {
				t.Errorf("record %v is not in the file", r)
			}
		}
	})
}

// TestRecordsAreOfTheirPlace moves and damages records.
func TestRecordsAreOfTheirPlace(t *testing.T) {
	for _, i := range []int{0, 1, 63, 1 << 20} {
		for _, crc := range []uint32{0, 1, 0xffffffff, 0xdeadbeef} {
			b := appendRecord(nil, i, crc)
			if got, ok := parseRecord(b, i); !ok || got != crc {
				t.Errorf("record of %d: %x, %t", i, got, ok)
			}
			for _, other := range []int{i + 1, i ^ 2, i + 1<<16} {
				if _, ok := parseRecord(b, other); ok {
					t.Errorf("a record of chunk %d counts for %d", i, other)
				}
			}
			for bit := range 8 * recordSize {
				b[bit/8] ^= 1 << (bit % 8)
				if _, ok := parseRecord(b, i); ok {
					t.Errorf("a record with bit %d flipped counts", bit)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
	if _, ok := parseRecord(make([]byte, recordSize), 0); ok {
		t.Error("zeros are a record")
	}
}
