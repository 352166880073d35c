package rootfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// A zstd:chunked layer (go.podman.io/storage, pkg/chunked) is zstd frames: those of the
// files, and skippable ones at the end, of which one has the table of contents. Where it is
// and its digest are in the annotations of the layer; the footer, which says the former,
// need not be read.

// chunkedKeys are the annotations, as podman and buildah write them, and as they did
// before and stargz-snapshotter does.
var chunkedKeys = []struct{ position, checksum string }{
	{"io.github.containers.zstd-chunked.manifest-position", "io.github.containers.zstd-chunked.manifest-checksum"},
	{"io.containers.zstd-chunked.manifest-position", "io.containers.zstd-chunked.manifest-checksum"},
}

// chunkedMagics are at the end of the footer, which is a skippable frame: the first is
// that of podman and buildah, the second that of stargz-snapshotter.
var chunkedMagics = []string{"GNUlInUx", "GnUlInUx"}

func isChunkedFooter(body []byte) bool {
	for _, magic := range chunkedMagics {
		if bytes.HasSuffix(body, []byte(magic)) {
			return true
		}
	}
	return false
}

// locateChunked reads the annotations: the position is offset, length, plain
// length and type of the table, with colons between; the checksum is that of the
// table as it is, compressed.
func locateChunked(blob readat.Reader, position, checksum string) (*tableOfContents, error) {
	digest, err := v1.NewHash(checksum)
	if err != nil {
		return nil, err
	}
	fields := strings.Split(position, ":")
	numbers := make([]int64, len(fields))
	for i, field := range fields {
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil || numbers[i] < 0 {
			return nil, fmt.Errorf("position %q is not of numbers", position)
		}
	}
	if len(numbers) != 4 || numbers[3] != 1 {
		return nil, fmt.Errorf("position %q is of another kind of table", position)
	}
	off, length := numbers[0], numbers[1]
	const frameHeader = 8 // of the frame that it is in
	if off < frameHeader || length > maxTOC || off > blob.Size() || length > blob.Size()-off {
		return nil, fmt.Errorf("position %q is not within the layer", position)
	}
	return &tableOfContents{codec: Zstd, tail: blob, from: off, to: off + length, files: off - frameHeader, digest: digest}, nil
}
