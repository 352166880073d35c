package imagetar

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// tarBlock is the unit of a tar archive.
	tarBlock = 512
	// alignment is where the data of layers starts: the block size of the file
	// systems that can clone ranges (FICLONERANGE wants multiples of it).
	alignment = 4096
)

// builder collects the segments of an archive. Its first error sticks.
type builder struct {
	Archive
	literal []byte // what has been written since the last blob
	err     error
}

// file appends a member whose bytes are in memory.
func (b *builder) file(name string, content []byte) {
	b.header(name, tar.TypeReg, int64(len(content)), false)
	b.literal = append(b.literal, content...)
	b.size += int64(len(content))
	b.pad()
}

// dir appends a directory.
func (b *builder) dir(name string) { b.header(name, tar.TypeDir, 0, false) }

// blob appends a member whose bytes are a blob's.
func (b *builder) blob(d v1.Descriptor, aligned bool) {
	b.header(blobName(d.Digest), tar.TypeReg, d.Size, aligned)
	b.flush()
	b.blobs = append(b.blobs, d)
	b.segments = append(b.segments, Segment{Blob: &d})
	b.size += d.Size
	b.pad()
}

// header appends a member's header, so long that the data behind it is aligned
// where that is asked for.
func (b *builder) header(name string, kind byte, size int64, aligned bool) {
	if b.err != nil {
		return
	}
	var header []byte
	if aligned {
		header, b.err = alignedHeader(name, kind, size, b.size)
	} else {
		header, b.err = tarHeader(name, kind, size, 0)
	}
	member := Member{Name: name, Offset: b.size, Data: b.size + int64(len(header)), Size: size}
	b.members = append(b.members, member)
	b.literal = append(b.literal, header...)
	b.size += int64(len(header))
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

// alignedHeader renders a header that starts at offset at and whose data starts
// on a boundary. The bytes that are missing go into a PAX comment, which every
// reader of tar archives skips.
func alignedHeader(name string, kind byte, size, at int64) ([]byte, error) {
	header, err := tarHeader(name, kind, size, 0)
	if err != nil || (at+int64(len(header)))%alignment == 0 {
		return header, err
	}
	// The shortest comment gives the shortest PAX header: what is still missing
	// after it is the length of the records to add.
	header, err = tarHeader(name, kind, size, minComment)
	if err != nil {
		return nil, err
	}
	missing := -(at + int64(len(header))) & (alignment - 1)
	if missing == 0 {
		return header, nil
	}
	return tarHeader(name, kind, size, minComment+int(missing))
}

// minComment is the length of a PAX record of a comment that is never empty (an
// empty value would delete the record) and grows by whole blocks: such a record
// alone fills less than one block, with the others that a header may need.
const minComment = 16

// tarHeader renders the header of one member, in as many blocks as it takes:
// one, or three and more where a name or a size needs PAX records. comment is
// the length in bytes of the PAX comment record to add; 0 adds none.
func tarHeader(name string, kind byte, size int64, comment int) ([]byte, error) {
	h := &tar.Header{Name: name, Typeflag: kind, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
	if kind == tar.TypeDir {
		h.Mode = 0o755
	}
	if comment > 0 {
		h.PAXRecords = map[string]string{"comment": commentOf(comment)}
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("header of %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// commentOf returns the value that makes a PAX comment record n bytes long: the
// record is "<its length in decimal> comment=<value>\n".
func commentOf(n int) string {
	return strings.Repeat(" ", n-len(fmt.Sprintf("%d comment=\n", n)))
}
