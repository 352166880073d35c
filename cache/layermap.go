package cache

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
)

// The map of plain bytes: a header, then a record for each piece of them that came to
// be there, in that order.
//
//	0    8  magic
//	8    8  a number that no other map has
//	16   8  how many plain bytes the layer has
//	24  32  the layerMark
//	56   4  CRC32C of all that
//	60      records
//
// Records are only added, with one write each time, so that processes need no lock for
// it. A later one replaces those before it that speak of the same bytes.
const (
	layerMapMagic  = "ocidlmap"
	layerMapHeader = 60
)

// A mapHeader is what the header says.
type mapHeader struct {
	nonce [8]byte
	size  int64
	mark  layerMark
}

// newMapHeader is that of a new map.
func newMapHeader(size int64, mark layerMark) mapHeader {
	h := mapHeader{size: size, mark: mark}
	_, _ = rand.Read(h.nonce[:]) // it never fails
	return h
}

func (h mapHeader) encode() []byte {
	b := append([]byte(layerMapMagic), h.nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b = append(b, h.mark[:]...)
	return binary.BigEndian.AppendUint32(b, sum(b))
}

func decodeMapHeader(b []byte) (h mapHeader, ok bool) {
	if len(b) < layerMapHeader || !bytes.HasPrefix(b, []byte(layerMapMagic)) {
		return h, false
	}
	copy(h.nonce[:], b[8:])
	h.size = int64(binary.BigEndian.Uint64(b[16:]))
	copy(h.mark[:], b[24:])
	return h, sum(b[:layerMapHeader-4]) == binary.BigEndian.Uint32(b[layerMapHeader-4:])
}

// readMapHeader reads the header of an open map.
func readMapHeader(f *os.File) (h mapHeader, ok bool) {
	b := make([]byte, layerMapHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, false // one that cannot be read is like none
	}
	return decodeMapHeader(b)
}

// A pieceRecord says that plain bytes are there: where they begin, in 6 bytes, how
// many they are less one, in 2, their CRC32C, and 4 that cover these and are another
// for each, so that zeros, a torn write or what begins in the middle of a record are none.
const pieceRecord = 16

const pieceMagic = 0x6f63696c

func appendPiece(b []byte, off int64, n int, crc uint32) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(off)<<16|uint64(n-1))
	b = binary.BigEndian.AppendUint32(b, crc)
	return binary.BigEndian.AppendUint32(b, pieceCheck(b[at:]))
}

func pieceCheck(b []byte) uint32 { return sum(b[:12]) ^ pieceMagic }

func parsePiece(b []byte) (off int64, n int, crc uint32, ok bool) {
	place := binary.BigEndian.Uint64(b)
	off, n = int64(place>>16), int(place&0xffff)+1
	return off, n, binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:]) == pieceCheck(b)
}

// A foundPiece is one that a map has a record of.
type foundPiece struct {
	off int64
	n   int
	crc uint32
}

// readPieces reads the records of a map from a byte of it on, some at a time, and
// returns where it ended: behind the last record, so that one that is being written is
// read the next time. What is none is passed over, byte by byte: behind a write that
// broke off, others go on.
func readPieces(f *os.File, from int64, each func([]foundPiece)) (end int64, err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	var found []foundPiece
	for {
		n, err := f.ReadAt(*buffer, from)
		if err != nil && err != io.EOF {
			return from, err
		}
		found = found[:0]
		b, at, last := (*buffer)[:n], 0, 0
		for at+pieceRecord <= n {
			off, length, crc, ok := parsePiece(b[at:])
			if !ok {
				at++
				continue
			}
			found = append(found, foundPiece{off, length, crc})
			at += pieceRecord
			last = at
		}
		if len(found) > 0 {
			each(found)
		}
		if err == io.EOF {
			return from + int64(last), nil
		}
		from += int64(at)
	}
}
