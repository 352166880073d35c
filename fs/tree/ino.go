package tree

import (
	"crypto/sha256"
	"encoding/binary"
)

// Inode numbers are made here and nowhere else. Each is a SHA-256 cut to 63
// bits: the same content has the same number in every mount and after every
// restart, and the upper half of the range is left to the FUSE library, which
// numbers there what has no number of its own.

// contentIno is the inode number of a file: of what it holds, never of where it
// was found. kind is the file's name in its image directory, name what the file
// embeds besides the content.
func contentIno(repository, digest, kind, name string) uint64 {
	return ino("content", repository, digest, kind, name)
}

// pathIno is the inode number of a directory, or of a link that always leads to the
// same. A directory's content changes, so its path is what it is.
func pathIno(path string) uint64 { return ino("path", path) }

// linkIno is the inode number of a link that may lead elsewhere later, at the same
// path: what an inode is never changes.
func linkIno(path, target string) uint64 { return ino("link", path, target) }

func ino(fields ...string) uint64 {
	h := sha256.New()
	for _, f := range fields {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(f))))
		h.Write([]byte(f))
	}
	n := binary.BigEndian.Uint64(h.Sum(nil)) >> 1
	if n < 2 { // 0 means none, 1 is the root
		n += 2
	}
	return n
}
