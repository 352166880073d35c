package cache

import "hash/crc32"

const (
	// chunkSize is the unit in which a blob is known to be there: small, since a
	// reader who wants a tar header must not pay for a megabyte; and four pages of
	// memory, since each has a record.
	chunkSize = 16 << 10
	// bufferChunks is how many chunks are read, checked or written in one piece.
	bufferChunks = 16
	// maxSize is the longest blob that is taken. Sizes come out of manifests that
	// nobody vouches for; no registry takes a layer of a terabyte.
	maxSize = 1 << 40
)

// castagnoli is the polynomial that CPUs have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// chunksOf is how many chunks a blob of size bytes has.
func chunksOf(size int64) int { return int((size + chunkSize - 1) / chunkSize) }

// chunkLen is the length of chunk i of a blob of size bytes.
func chunkLen(i int, size int64) int { return int(min(chunkSize, size-int64(i)*chunkSize)) }

// A span is a run of chunks.
type span struct{ from, to int }

func (s span) len() int             { return s.to - s.from }
func (s span) has(i int) bool       { return s.from <= i && i < s.to }
func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

// bytes is where a span begins and ends in a blob of size bytes.
func (s span) bytes(size int64) (from, to int64) {
	return int64(s.from) * chunkSize, min(int64(s.to)*chunkSize, size)
}
