package rootfs

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
)

// A tocBuilder makes the table and the spans of an index out of a table of
// contents. The plain bytes are those of the files, in the order of the table.
type tocBuilder struct {
	report func(*EntryError)
	files  int64 // where they end in the layer

	table TableBuilder
	list  []span
	off   int64 // of the next plain byte

	name    string // of the file whose chunks are expected
	size    int64  // of it
	missing int64  // bytes of it that have no chunk yet
}

// maxSpans is how many chunks all files of a layer may have: those of 64 KiB that
// zstd:chunked makes are 300 GiB then.
const maxSpans = MaxEntries

// parse reads the JSON.
func (b *tocBuilder) parse(from io.Reader) error {
	if err := eachEntry(from, b.add); err != nil {
		return err
	}
	return b.finish()
}

func (b *tocBuilder) add(e *tocEntry) error {
	if e.Type == "chunk" {
		if b.missing == 0 {
			return fmt.Errorf("a chunk of %q belongs to no file", e.Name)
		}
		return b.chunk(e)
	}
	if err := b.finish(); err != nil {
		return err
	}
	entry, err := e.entry()
	if err != nil {
		return err
	}
	if entry.Type == tar.TypeReg {
		if entry.Size < 0 || entry.Size > MaxPlain-b.off {
			return fmt.Errorf("%w: file %q has %d bytes", ErrTooLarge, e.Name, entry.Size)
		}
		entry.Data = b.off
		b.name, b.size, b.missing = e.Name, entry.Size, entry.Size
	}
	if !isHousekeeping(e.Name) {
		err := b.table.Add(entry)
		var hidden *EntryError
		if errors.As(err, &hidden) {
			b.report(hidden)
		} else if err != nil {
			return err
		}
	}
	if b.missing > 0 {
		return b.chunk(e)
	}
	return nil
}

// finish is called when the next file comes, or none.
func (b *tocBuilder) finish() error {
	if b.missing > 0 {
		return fmt.Errorf("%d bytes of %q are nowhere", b.missing, b.name)
	}
	return nil
}

// chunk adds the next bytes of the file.
func (b *tocBuilder) chunk(e *tocEntry) error {
	at, size := b.size-b.missing, e.ChunkSize
	if size == 0 {
		size = b.missing
	}
	switch {
	case e.ChunkOffset != at || size < 0 || size > b.missing:
		return fmt.Errorf("%d bytes at %d of %q are not what is expected at %d of %d", size, e.ChunkOffset, b.name, at, b.size)
	case e.Offset < 0 || e.Offset >= b.files || e.InnerOffset < 0 || e.InnerOffset > math.MaxUint32:
		return fmt.Errorf("a chunk of %q is outside of the layer", b.name)
	case len(b.list) == maxSpans:
		return fmt.Errorf("%w: it has more than %d chunks", ErrTooLarge, maxSpans)
	}
	s := span{off: b.off, from: e.Offset, skip: uint32(e.InnerOffset), start: startFrame}
	switch e.ChunkType {
	case "":
		var err error
		if s.sum, err = e.sum(size == b.size); err != nil {
			return err
		}
	case "zeros":
		s.start = startZeros
	default:
		return fmt.Errorf("a chunk of %q is of type %q, which is not known", b.name, e.ChunkType)
	}
	b.list = append(b.list, s)
	b.off += size
	b.missing -= size
	return nil
}

// spans returns those of a codec. The compressed bytes of one end where others begin, since
// nothing else says where.
func (b *tocBuilder) spans(codec Codec) *spans {
	begins := make([]int64, 0, len(b.list)+1)
	for _, s := range b.list {
		begins = append(begins, s.from)
	}
	begins = append(begins, b.files)
	slices.Sort(begins)
	for i := range b.list {
		s := &b.list[i]
		next, _ := slices.BinarySearch(begins, s.from+1)
		s.to = begins[next]
		if s.start == startFrame && codec == Gzip {
			s.start = startMember
		}
	}
	return &spans{list: b.list, size: b.off}
}

// A tee hashes what is read.
type tee struct {
	io.Reader
	digest hash.Hash
}

func newTee(from io.Reader) *tee {
	digest := sha256.New()
	return &tee{io.TeeReader(from, digest), digest}
}
