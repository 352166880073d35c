package artifacts

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/opencontainers/go-digest"
)

// A file is one of a layer.
type file struct {
	name, content string
}

// A layer is a tarball, and how it is stored.
type layer struct {
	stored []byte
	diffID digest.Digest // that of the tarball
}

// tarball is a tarball of files of root's.
func tarball(files ...file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if f.content == "" && f.name[len(f.name)-1] == '/' {
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(header); err != nil {
			panic(err) // no name is too long
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			panic(err) // it goes into memory
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// plain is a layer as it is.
func plain(files ...file) layer {
	b := tarball(files...)
	return layer{b, digest.FromBytes(b)}
}

// zipped is a layer as gzip has it.
func zipped(files ...file) layer {
	b := tarball(files...)
	return layer{gzip(b), digest.FromBytes(b)}
}

// zstandard is a layer as zstd has it.
func zstandard(files ...file) layer {
	b := tarball(files...)
	return layer{zstd(b), digest.FromBytes(b)}
}

// gzip writes a member (RFC 1952) of stored blocks (RFC 1951, 3.2.4), which no version
// of a compressor can write otherwise.
func gzip(b []byte) []byte {
	out := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff} // no time, no known system
	for rest := b; ; {
		n := min(len(rest), 0xffff)
		last := byte(0)
		if n == len(rest) {
			last = 1
		}
		out = append(out, last)
		out = binary.LittleEndian.AppendUint16(out, uint16(n))
		out = binary.LittleEndian.AppendUint16(out, ^uint16(n))
		out = append(out, rest[:n]...)
		if rest = rest[n:]; last == 1 {
			break
		}
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(b))
	return binary.LittleEndian.AppendUint32(out, uint32(len(b)))
}

// zstd writes a frame (RFC 8878) of raw blocks.
func zstd(b []byte) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000} // 4 bytes of size, a single segment, no checksum
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
	for rest := b; ; {
		n := min(len(rest), 128<<10) // the most that a block holds
		header := uint32(n) << 3
		if n == len(rest) {
			header |= 1
		}
		out = append(out, byte(header), byte(header>>8), byte(header>>16))
		out = append(out, rest[:n]...)
		if rest = rest[n:]; header&1 == 1 {
			return out
		}
	}
}
