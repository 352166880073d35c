package layers

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// chunkSize is how much of a file is a frame of its own: less than podman's, which are
// of 64 KiB on average, so that small files too have several.
const chunkSize = 30_000

// zerosSize is how long a run of zeros is that podman makes a chunk without a frame.
const zerosSize = 1024

// A chunkedEntry is an element of the table (go.podman.io/storage, pkg/chunked/internal,
// FileMetadata).
type chunkedEntry struct {
	Type       string            `json:"type"`
	Name       string            `json:"name"`
	LinkName   string            `json:"linkName,omitempty"`
	Mode       int64             `json:"mode,omitempty"`
	Size       int64             `json:"size,omitempty"`
	UID        int               `json:"uid,omitempty"`
	GID        int               `json:"gid,omitempty"`
	ModTime    *time.Time        `json:"modtime,omitempty"`
	AccessTime *time.Time        `json:"accesstime,omitempty"`
	DevMajor   int64             `json:"devMajor,omitempty"`
	DevMinor   int64             `json:"devMinor,omitempty"`
	Xattrs     map[string]string `json:"xattrs,omitempty"` // base64
	Digest     string            `json:"digest,omitempty"`
	Offset     int64             `json:"offset,omitempty"`

	ChunkSize   int64  `json:"chunkSize,omitempty"`
	ChunkOffset int64  `json:"chunkOffset,omitempty"`
	ChunkDigest string `json:"chunkDigest,omitempty"`
	ChunkType   string `json:"chunkType,omitempty"`
}

var typeNames = map[byte]string{
	tar.TypeReg: "reg", tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeChar: "char",
	tar.TypeBlock: "block", tar.TypeDir: "dir", tar.TypeFifo: "fifo",
}

// chunked has a frame for each chunk of a file and for what is between files.
func chunked(plain []byte) (stored, error) {
	var entries []*chunkedEntry
	var blob []byte
	archive := bytes.NewReader(plain)
	r := tar.NewReader(archive)
	from := int64(0)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return stored{}, err
		}
		at := archive.Size() - int64(archive.Len())
		blob = append(blob, frame(plain[from:at])...)
		from = at + h.Size
		e := describe(h)
		entries = append(entries, e)
		if h.Size > 0 {
			var more []*chunkedEntry
			blob, more = e.cut(blob, plain[at:from])
			entries = append(entries, more...)
		}
	}
	blob = append(blob, frame(plain[from:])...)
	toc, err := json.Marshal(map[string]any{"version": 1, "entries": entries, "tarSplitDigest": digestOf(nil).String()})
	if err != nil {
		return stored{}, err
	}
	whole, annotations := WithChunkedTOC(blob, toc)
	return stored{blob: whole, annotations: annotations}, nil
}

func describe(h *tar.Header) *chunkedEntry {
	xattrs := map[string]string{}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			xattrs[name] = base64.StdEncoding.EncodeToString([]byte(value))
		}
	}
	return &chunkedEntry{
		Type: typeNames[h.Typeflag], Name: h.Name, LinkName: h.Linkname, Mode: h.Mode, Size: h.Size, UID: h.Uid, GID: h.Gid,
		ModTime: &h.ModTime, AccessTime: &h.AccessTime, DevMajor: h.Devmajor, DevMinor: h.Devminor, Xattrs: xattrs,
	}
}

// cut appends the chunks of a file to a blob, tells the file's entry of the first, and
// returns entries for the others.
func (e *chunkedEntry) cut(blob, data []byte) (_ []byte, more []*chunkedEntry) {
	e.Digest, e.Offset = digestOf(data).String(), int64(len(blob))
	chunk := e
	for off := 0; off < len(data); {
		n, kind := min(len(data)-off, chunkSize), ""
		if zeros := len(data[off:]) - len(bytes.TrimLeft(data[off:], "\x00")); zeros >= zerosSize {
			n, kind = zeros, "zeros"
		}
		if off > 0 || n < len(data) {
			chunk.Offset, chunk.ChunkOffset, chunk.ChunkSize = int64(len(blob)), int64(off), int64(n)
			chunk.ChunkType, chunk.ChunkDigest = kind, digestOf(data[off:off+n]).String()
		}
		blob = append(blob, frame(data[off:off+n])...)
		if off += n; off < len(data) {
			chunk = &chunkedEntry{Type: "chunk", Name: e.Name}
			more = append(more, chunk)
		}
	}
	return blob, more
}

// WithChunkedTOC appends a table of contents to the frames of files, as zstd:chunked does,
// and returns the annotations that say where it is.
func WithChunkedTOC(blob, toc []byte) ([]byte, map[string]string) {
	compressed := frame(toc)
	at := len(blob) + 8
	blob = skippable(blob, compressed)
	blob = skippable(blob, []byte("tar-split"))
	footer := make([]byte, 56)
	binary.LittleEndian.PutUint64(footer, uint64(at))
	blob = skippable(blob, append(footer, "GNUlInUx"...))
	return blob, map[string]string{
		"io.github.containers.zstd-chunked.manifest-position": fmt.Sprintf("%d:%d:%d:1", at, len(compressed), len(toc)),
		"io.github.containers.zstd-chunked.manifest-checksum": digestOf(compressed).String(),
	}
}

// skippable appends a frame without content (RFC 8878, section 3.1.2).
func skippable(b, body []byte) []byte {
	b = append(b, "\x50\x2a\x4d\x18"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}
