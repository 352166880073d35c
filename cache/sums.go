package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
)

// The sums of a whole blob: magic, size of the blob, a CRC32C for each chunk,
// and one of all that.
const (
	sumsMagic  = "ocidsum1"
	sumsHeader = 16
)

func encodeSums(size int64, t *table) []byte {
	b := make([]byte, 0, sumsHeader+4*t.n+4)
	b = append(b, sumsMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	for i := range t.n {
		b = binary.BigEndian.AppendUint32(b, t.sum(i))
	}
	return binary.BigEndian.AppendUint32(b, sum(b))
}

// decodeSums returns the table of a blob of size bytes, all of which is there,
// or nil where b is damaged.
func decodeSums(b []byte, size int64) *table {
	n := chunksOf(size)
	if len(b) != sumsHeader+4*n+4 || string(b[:8]) != sumsMagic || int64(binary.BigEndian.Uint64(b[8:])) != size {
		return nil
	}
	body := b[:len(b)-4]
	if sum(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil
	}
	t := newTable(n)
	for i := range n {
		t.add(i, binary.BigEndian.Uint32(body[sumsHeader+4*i:]))
	}
	return t
}

// sumsOf reads a file of size bytes and returns its table; nil where its digest
// is not the blob's, or it cannot be read. It ends with the store.
func (c *content) sumsOf(f *os.File, size int64) (*table, error) {
	h := sha256.New()
	t := newTable(chunksOf(size))
	b := make([]byte, chunkSize)
	in := io.NewSectionReader(f, 0, size)
	for i := range t.n {
		if c.store.life.Err() != nil {
			return nil, errClosed
		}
		chunk := b[:chunkLen(i, size)]
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, nil //nolint:nilerr // what cannot be read is damage
		}
		h.Write(chunk)
		t.add(i, sum(chunk))
	}
	if hex.EncodeToString(h.Sum(nil)) != c.key.digest.Hex {
		return nil, nil
	}
	return t, nil
}
