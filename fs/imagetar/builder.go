package imagetar

import (
	"archive/tar"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// tarBlock is the unit of a tar archive.
	tarBlock = 512
	// alignment is where the data of layers starts: the block size of the file
	// systems that can clone ranges (FICLONERANGE wants multiples of it).
	alignment = 4096

	fileMode     = 0o644
	readOnlyMode = 0o444
	dirMode      = 0o755
)

// builder collects the segments of an archive. Its first error sticks.
type builder struct {
	Archive
	literal []byte // what has been written since the last blob
	err     error
}

// file appends a member whose bytes are in memory.
func (b *builder) file(name string, mode int64, content []byte) {
	b.header(header{name, tar.TypeReg, mode, int64(len(content))}, false)
	b.literal = append(b.literal, content...)
	b.size += int64(len(content))
	b.pad()
}

// dir appends a directory.
func (b *builder) dir(name string) { b.header(header{name, tar.TypeDir, dirMode, 0}, false) }

// blob appends a member whose bytes are a blob's.
func (b *builder) blob(d v1.Descriptor, mode int64, aligned bool) {
	b.header(header{blobName(d.Digest), tar.TypeReg, mode, d.Size}, aligned)
	b.flush()
	b.blobs = append(b.blobs, d)
	b.segments = append(b.segments, Segment{Blob: &d})
	b.size += d.Size
	b.pad()
}

// header appends a member's header, so long that the data behind it is aligned
// where that is asked for.
func (b *builder) header(h header, aligned bool) {
	if b.err != nil {
		return
	}
	var rendered []byte
	if aligned {
		rendered, b.err = h.aligned(b.size)
	} else {
		rendered, b.err = h.render(0)
	}
	member := Member{Name: h.name, Offset: b.size, Data: b.size + int64(len(rendered)), Size: h.size}
	b.members = append(b.members, member)
	b.literal = append(b.literal, rendered...)
	b.size += int64(len(rendered))
}

// pad fills the last block of a member.
func (b *builder) pad() {
	if n := -b.size & (tarBlock - 1); n > 0 {
		b.literal = append(b.literal, make([]byte, n)...)
		b.size += n
	}
}

// flush ends a run of literal bytes.
func (b *builder) flush() {
	if len(b.literal) > 0 {
		b.segments = append(b.segments, Segment{Literal: b.literal})
		b.literal = nil
	}
}

// finish ends the archive with its two zero blocks.
func (b *builder) finish() (*Archive, error) {
	if b.err != nil {
		return nil, b.err
	}
	b.literal = append(b.literal, make([]byte, 2*tarBlock)...)
	b.size += 2 * tarBlock
	b.flush()
	return &b.Archive, nil
}
