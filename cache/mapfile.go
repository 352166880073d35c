package cache

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"os"
)

// The map of a partial blob: a header with the SHA-256 over the blob's beginning
// as far as it was computed, then a record for each chunk.
//
//	0    8  magic
//	8    8  size of the blob
//	16   8  bytes that the SHA-256 state covers
//	24   2  length of the state
//	26 226  state
//	252  4  CRC32C of all that
//	256     records
const (
	mapMagic   = "ocidmap1"
	headerSize = 256
	maxState   = headerSize - 30
)

// recordOffset is where the record of chunk i is in the map. The byte there is
// also what is locked while the chunk is fetched.
func recordOffset(i int) int64 { return headerSize + int64(i)*recordSize }

// encodeHeader returns the header for a blob whose first hashed bytes are in h.
func encodeHeader(size, hashed int64, h hash.Hash) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
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
	binary.BigEndian.PutUint64(b[16:], uint64(hashed))
	binary.BigEndian.PutUint16(b[24:], uint16(len(state)))
	copy(b[26:], state)
	binary.BigEndian.PutUint32(b[headerSize-4:], sum(b[:headerSize-4]))
	return b, nil
}

// decodeHeader returns the state of SHA-256 that a header holds. One that is
// damaged, or of a blob of another size, is the state at the beginning: records
// stand for themselves.
func decodeHeader(b []byte, size int64) (hashed int64, h hash.Hash) {
	fresh := sha256.New()
	if len(b) < headerSize || string(b[:8]) != mapMagic || sum(b[:headerSize-4]) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return 0, fresh
	}
	hashed = int64(binary.BigEndian.Uint64(b[16:]))
	n := int(binary.BigEndian.Uint16(b[24:]))
	if int64(binary.BigEndian.Uint64(b[8:])) != size || hashed < 0 || hashed > size || n > maxState {
		return 0, fresh
	}
	h = sha256.New()
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok || u.UnmarshalBinary(b[26:26+n]) != nil {
		return 0, fresh
	}
	return hashed, h
}

// readRecords reads the records of chunks from up to to. Those that the file is
// too short for are missing.
func readRecords(f *os.File, from, to int, each func(i int, crc uint32)) error {
	b := make([]byte, (to-from)*recordSize)
	n, err := f.ReadAt(b, recordOffset(from))
	if err != nil && err != io.EOF {
		return err
	}
	for i := range n / recordSize {
		if crc, ok := parseRecord(b[i*recordSize:], from+i); ok {
			each(from+i, crc)
		}
	}
	return nil
}
