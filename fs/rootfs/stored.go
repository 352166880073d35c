package rootfs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A stored index is one file:
//
//	header   fixed: what the layer is, how long the parts are, and their sums
//	table    see Table
//	spans    a record each, see appendSpan
//	windows  one after the other, each a zstd frame with a sum of its own
//
// Numbers are little-endian, sums CRC32C. The windows are most of it, and of
// those only the ones that are used are ever looked at: the file can be mapped.
const (
	storedMagic = "ocidistfs layer\n"
	// storedFormat changes with anything that is kept, or computed otherwise: an index of
	// another format is a miss.
	storedFormat = 2
)

// A storedHeader is how an index begins, behind the magic word.
type storedHeader struct {
	Format  uint32
	Sum     uint32 // of what follows in the header
	Blob    [32]byte
	DiffID  [32]byte // zeros where nobody knows it
	Bytes   int64    // of the layer
	Size    int64    // plain
	Codec   uint32
	Spans   uint32 // how many
	Lengths struct{ Table, Spans, Windows int64 }
	Sums    struct{ Table, Spans uint32 }
}

var (
	headerSize = binary.Size(storedHeader{})
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// encode returns the header with its sum.
func (h storedHeader) encode() []byte {
	// Everything has a fixed size, so there is no error.
	b, _ := binary.Append(nil, binary.LittleEndian, h)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return append([]byte(storedMagic), b...)
}

// WriteTo writes the index as [ParseIndex] reads it.
func (x *Index) WriteTo(w io.Writer) (int64, error) {
	h := storedHeader{Format: storedFormat, Bytes: x.Bytes, Size: x.spans.size, Codec: uint32(x.Codec), Spans: uint32(len(x.spans.list))}
	err := storeDigest(&h.Blob, x.Blob)
	if err == nil && x.DiffID != (v1.Hash{}) {
		err = storeDigest(&h.DiffID, x.DiffID)
	}
	if err != nil {
		return 0, err
	}
	table, spans := x.Table.Bytes(), x.spans.encode()
	h.Lengths.Table, h.Lengths.Spans = int64(len(table)), int64(len(spans))
	h.Sums.Table, h.Sums.Spans = crc32.Checksum(table, castagnoli), crc32.Checksum(spans, castagnoli)
	for _, window := range x.spans.windows {
		h.Lengths.Windows += int64(len(window))
	}
	written := int64(0)
	for _, part := range append([][]byte{h.encode(), table, spans}, x.spans.windows...) {
		n, err := w.Write(part)
		if written += int64(n); err != nil {
			return written, err
		}
	}
	return written, nil
}

func storeDigest(to *[32]byte, d v1.Hash) error {
	b, err := hex.DecodeString(d.Hex)
	if err != nil || d.Algorithm != "sha256" || len(b) != len(to) {
		return fmt.Errorf("index of layer %s: only those with a sha256 can be kept", d)
	}
	*to = [32]byte(b)
	return nil
}

func storedDigest(from [32]byte) v1.Hash {
	if from == ([32]byte{}) {
		return v1.Hash{}
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(from[:])}
}

// ParseIndex reads the index of a layer that [Index.WriteTo] has written, and keeps
// b, which must not change afterwards. Whatever is wrong with it is
// [ErrDamaged], and why: then there is none. Of an index without an error, all can be
// read and is within the limits; that the windows are damaged is found when
// they are used.
func ParseIndex(b []byte, blob v1.Hash) (*Index, error) {
	x, err := parseIndex(b)
	if err == nil && x.Blob != blob {
		err = fmt.Errorf("%w: it is that of %s", ErrDamaged, x.Blob)
	}
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, fmt.Errorf("index of layer %s: %w", blob, err)
	}
	return x, nil
}

func parseIndex(b []byte) (*Index, error) {
	if len(b) < len(storedMagic)+headerSize || string(b[:len(storedMagic)]) != storedMagic {
		return nil, fmt.Errorf("%w: it is none", ErrDamaged)
	}
	var h storedHeader
	n, err := binary.Decode(b[len(storedMagic):], binary.LittleEndian, &h)
	switch {
	case err != nil:
		return nil, err
	case h.Format != storedFormat:
		return nil, fmt.Errorf("%w: format %d is not known here", ErrDamaged, h.Format)
	case h.Sum != crc32.Checksum(b[len(storedMagic)+8:len(storedMagic)+n], castagnoli):
		return nil, fmt.Errorf("%w: the sum of its header is wrong", ErrDamaged)
	}
	rest := b[len(storedMagic)+n:]
	var parts [3][]byte
	for i, length := range []int64{h.Lengths.Table, h.Lengths.Spans, h.Lengths.Windows} {
		if length < 0 || length > int64(len(rest)) {
			return nil, fmt.Errorf("%w: it is too short", ErrDamaged)
		}
		parts[i], rest = rest[:length:length], rest[length:]
	}
	switch {
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: it is too long", ErrDamaged)
	case h.Sums.Table != crc32.Checksum(parts[0], castagnoli), h.Sums.Spans != crc32.Checksum(parts[1], castagnoli):
		return nil, fmt.Errorf("%w: a sum is wrong", ErrDamaged)
	}
	x := &Index{Blob: storedDigest(h.Blob), Bytes: h.Bytes, Codec: Codec(h.Codec), DiffID: storedDigest(h.DiffID)}
	if x.Table, err = ParseTable(parts[0]); err != nil {
		return nil, err
	}
	x.spans, err = parseSpans(parts[1], parts[2], int(h.Spans), h.Size, h.Bytes)
	return x, err
}
