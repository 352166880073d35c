package rootfs

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// An eStargz layer (github.com/containerd/stargz-snapshotter, docs/estargz.md) is gzip
// members: those of the files, one with a tar of the table of contents, and an empty
// one, whose header says where that is.
const (
	// stargzDigest is the annotation of a layer with the digest of its table, as it is before
	// it is compressed. Where it is missing, nothing says that the table is the
	// right one.
	stargzDigest = "containerd.io/snapshot/stargz/toc.digest"
	// stargzName is the file in the tar.
	stargzName = "stargz.index.json"
	// stargzMagic is at the end of the extra field of the last member.
	stargzMagic = "STARGZ"
)

// stargzTOC reads the extra field of a gzip header: at which offset of the layer
// the member with the table of contents begins, as 16 hexadecimal digits and a magic
// word, in a subfield (RFC 1952, section 2.3.1.1) since eStargz and without one
// before.
func stargzTOC(extra []byte) (off int64, ok bool) {
	const length = 16 + len(stargzMagic)
	if len(extra) == 4+length && string(extra[:2]) == "SG" && int(binary.LittleEndian.Uint16(extra[2:])) == length {
		extra = extra[4:]
	}
	if len(extra) != length || string(extra[16:]) != stargzMagic {
		return 0, false
	}
	off, err := strconv.ParseInt(string(extra[:16]), 16, 64)
	return off, err == nil && off >= 0
}

// The end of a layer that is read at once: in layers of ordinary size the table lies in
// it, so that no second request is needed, and in large ones it is a 128th of
// what there is.
const (
	minTail = 16 << 10
	maxTail = 1 << 20
)

func locateStargz(ctx context.Context, blob readat.Reader, annotation string) (*tableOfContents, error) {
	digest, err := v1.NewHash(annotation)
	if err != nil {
		return nil, err
	}
	size := blob.Size()
	n := min(size, max(minTail, min(size/128, maxTail)))
	tail := &tailedBlob{Reader: blob, off: size - n, bytes: make([]byte, n)}
	if read, err := blob.ReadAt(ctx, tail.bytes, tail.off); read < len(tail.bytes) {
		return nil, noEOF(err)
	}
	for _, length := range []int{26, 22} { // of the extra field
		// After it come an empty stored block and the trailer.
		end := len(tail.bytes) - 5 - 8
		if end < length+12 {
			break
		}
		off, ok := stargzTOC(tail.bytes[end-length : end])
		if !ok {
			continue
		}
		to := tail.off + int64(end-length-12)
		if off >= to || to-off > maxTOC {
			return nil, fmt.Errorf("a table from %d to %d cannot be", off, to)
		}
		return &tableOfContents{codec: Gzip, tail: tail, from: off, to: to, files: off, digest: digest, plain: true}, nil
	}
	return nil, fmt.Errorf("%w: there is no footer of eStargz", ErrNoTOC)
}

// A tailedBlob is a blob of which the end was read.
type tailedBlob struct {
	readat.Reader
	off   int64
	bytes []byte
}

func (t *tailedBlob) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	read := 0
	if off < t.off {
		n := min(int64(len(p)), t.off-off)
		var err error
		if read, err = t.Reader.ReadAt(ctx, p[:n], off); int64(read) < n {
			return read, err
		}
	}
	if at := off + int64(read) - t.off; at >= 0 && at < int64(len(t.bytes)) {
		read += copy(p[read:], t.bytes[at:])
	}
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

// stargzJSON returns a reader of the table in the tar that has it.
func stargzJSON(in *input) (io.Reader, error) {
	archive := tar.NewReader(&gunzip{in: in})
	h, err := archive.Next()
	if err != nil {
		return nil, noEOF(err)
	}
	if h.Name != stargzName {
		return nil, fmt.Errorf("%q is where the table should be", h.Name)
	}
	return archive, nil
}
