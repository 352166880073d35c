package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// The map of a partial blob: a header with the SHA-256 over the blob's beginning
// as far as it was computed, then a record for each chunk.
//
//	0    8  magic
//	8    8  size of the blob
//	16   8  bytes that the SHA-256 state covers
//	24   4  CRC32C of the chunks' CRC32Cs that it covers
//	28   2  length of the state
//	30 222  state
//	252  4  CRC32C of all that
//	256     records
const (
	mapMagic   = "ocidmap1"
	headerSize = 256
	stateStart = 30
	maxState   = headerSize - 4 - stateStart
)

// encodeHeader returns the header that keeps a prefix.
func encodeHeader(size int64, p *prefix) ([]byte, error) {
	m, ok := p.digest.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("sha256: its state cannot be saved")
	}
	state, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if len(state) > maxState {
		return nil, errors.New("sha256: its state is too long")
	}
	b := make([]byte, headerSize)
	copy(b, mapMagic)
	binary.BigEndian.PutUint64(b[8:], uint64(size))
	binary.BigEndian.PutUint64(b[16:], uint64(p.hashed))
	binary.BigEndian.PutUint32(b[24:], p.sums)
	binary.BigEndian.PutUint16(b[28:], uint16(len(state)))
	copy(b[stateStart:], state)
	binary.BigEndian.PutUint32(b[headerSize-4:], sum(b[:headerSize-4]))
	return b, nil
}

// decodeHeader returns the prefix that a header of a blob of size bytes keeps,
// if the chunks that are there are those that it covers: a chunk that was lost
// or fetched again since may be another. What is damaged or does not fit is the
// empty prefix: records stand for themselves.
func decodeHeader(b []byte, size int64, chunks *table) *prefix {
	if len(b) < headerSize || string(b[:8]) != mapMagic || sum(b[:headerSize-4]) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return newPrefix()
	}
	hashed := int64(binary.BigEndian.Uint64(b[16:]))
	p := &prefix{digest: sha256.New(), hashed: hashed, reach: hashed, sums: binary.BigEndian.Uint32(b[24:])}
	n := int(binary.BigEndian.Uint16(b[28:]))
	if int64(binary.BigEndian.Uint64(b[8:])) != size || p.hashed < 0 || p.hashed > size || n > maxState {
		return newPrefix()
	}
	if p.hashed%chunkSize != 0 && p.hashed != size {
		return newPrefix()
	}
	covered := uint32(0)
	for i := range chunksOf(p.hashed) {
		if !chunks.has(i) {
			return newPrefix()
		}
		covered = addSums(covered, chunks.sum(i))
	}
	if covered != p.sums {
		return newPrefix()
	}
	if u, ok := p.digest.(encoding.BinaryUnmarshaler); !ok || u.UnmarshalBinary(b[stateStart:stateStart+n]) != nil {
		return newPrefix()
	}
	p.saved, p.savedAt = bytes.Clone(b[stateStart:stateStart+n]), hashed
	return p
}

// stateIn is the SHA-256 state in a header that was encoded.
func stateIn(b []byte) []byte {
	return bytes.Clone(b[stateStart:][:binary.BigEndian.Uint16(b[28:])])
}

// A record says in the map that a chunk is there, with its sum. The second half
// covers the first and the chunk's number, so that zeros, a torn write or a
// record of another chunk are none.
const recordSize = 8

const recordMagic = 0x6f636964

// recordOffset is where the record of chunk i is in the map. The byte there is
// also what is locked while the chunk is fetched.
func recordOffset(i int) int64 { return headerSize + int64(i)*recordSize }

// recordRange is where the records of a span are.
func recordRange(s span) (at, n int64) { return recordOffset(s.from), int64(s.len()) * recordSize }

func appendRecord(b []byte, i int, crc uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, crc)
	return binary.BigEndian.AppendUint32(b, recordCheck(i, crc))
}

func recordCheck(i int, crc uint32) uint32 {
	check := uint32(recordMagic)
	for _, word := range [...]uint32{uint32(uint64(i) >> 32), uint32(i), crc} {
		// A bijection of each word, and mixed: damage of any of them shows.
		check = (check ^ word) * 0x9e3779b1
		check ^= check >> 15
	}
	return check
}

func parseRecord(b []byte, i int) (crc uint32, ok bool) {
	crc = binary.BigEndian.Uint32(b)
	return crc, binary.BigEndian.Uint32(b[4:]) == recordCheck(i, crc)
}

// A recorded chunk is one that the map has a record of.
type recorded struct {
	chunk int
	crc   uint32
}

// readRecords reads the records of a span, in pieces. Those that the file is too
// short for are missing.
func readRecords(f *os.File, s span, each func([]recorded)) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	var found []recorded
	for perRead := len(*buffer) / recordSize; s.from < s.to; s.from += perRead {
		at, length := recordRange(span{s.from, min(s.to, s.from+perRead)})
		n, err := f.ReadAt((*buffer)[:length], at)
		if err != nil && err != io.EOF {
			return err
		}
		found = found[:0]
		for i := range n / recordSize {
			b := (*buffer)[i*recordSize:][:recordSize]
			if binary.BigEndian.Uint64(b) == 0 {
				continue // a hole, as most of a big map is
			}
			if crc, ok := parseRecord(b, s.from+i); ok {
				found = append(found, recorded{s.from + i, crc})
			}
		}
		if len(found) > 0 {
			each(found)
		}
		if err == io.EOF {
			return nil
		}
	}
	return nil
}
