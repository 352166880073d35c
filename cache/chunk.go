package cache

import (
	"encoding/binary"
	"hash/crc32"
)

// chunkSize is the unit in which a blob is known to be there: small, since a
// reader who wants a tar header must not pay for a megabyte; and four pages,
// since each has a record.
const chunkSize = 16 << 10

// castagnoli is the polynomial that CPUs have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// chunksOf is how many chunks a blob of size bytes has.
func chunksOf(size int64) int { return int((size + chunkSize - 1) / chunkSize) }

// chunkLen is the length of chunk i of a blob of size bytes.
func chunkLen(i int, size int64) int { return int(min(chunkSize, size-int64(i)*chunkSize)) }

// A bitmap has a bit for each chunk.
type bitmap []uint64

func newBitmap(n int) bitmap    { return make(bitmap, (n+63)/64) }
func (b bitmap) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitmap) unset(i int)    { b[i/64] &^= 1 << (i % 64) }

// A record says in the map that a chunk is there, with its sum. The second half
// covers the first and the chunk's number, so that zeros, a torn write or a
// record of another chunk are none.
const recordSize = 8

const recordMagic = 0x6f636964

func appendRecord(b []byte, i int, crc uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, crc)
	return binary.BigEndian.AppendUint32(b, recordCheck(i, crc))
}

func recordCheck(i int, crc uint32) uint32 {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	binary.BigEndian.PutUint32(b[8:], crc)
	return sum(b[:]) ^ recordMagic
}

func parseRecord(b []byte, i int) (crc uint32, ok bool) {
	crc = binary.BigEndian.Uint32(b)
	return crc, binary.BigEndian.Uint32(b[4:]) == recordCheck(i, crc)
}
