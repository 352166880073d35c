package rootfs

import (
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrDamaged is an index, or the table in it, that is not as it was when it was
// stored.
var ErrDamaged = errors.New("index is damaged")

// An Index is what is kept of a layer: its entries, and where to begin in its
// compressed bytes to have any of its plain ones. It is immutable and may be
// used from several goroutines at once.
//
// There are two ways to one: [Pass] reads the whole layer once, and then its plain bytes
// are those of the tar; [OpenTOC] reads the table of contents of a layer that has
// one, and then its plain bytes are those of its files, one after the other in the order of
// the table. [Entry.Data] is an offset in the plain bytes either way.
type Index struct {
	Blob  v1.Hash // digest of the layer
	Bytes int64   // of the layer, compressed
	Codec Codec
	// DiffID is the digest of the plain bytes. It is zero where the table of contents of
	// the layer was used: nobody has seen all of them.
	DiffID v1.Hash
	Table  *Table
	spans  *spans
}

// Size is how many plain bytes there are.
func (x *Index) Size() int64 { return x.spans.size }
