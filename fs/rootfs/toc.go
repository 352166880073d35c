package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// ErrNoTOC is a layer that brings no table of contents, or none that can be used, and
// why: it is no reason not to read the layer. [Pass] does.
var ErrNoTOC = errors.New("no table of contents")

const (
	// maxTOC and maxPlainTOC are how long a table of contents may be, compressed and
	// not. No part of it is ever in memory as it is: an entry at a time is read and
	// becomes some bytes of a Table.
	maxTOC      = 512 << 20
	maxPlainTOC = 4 << 30
	// minTOCInput is the least buffer that a table is read with: decoders look ahead in it.
	minTOCInput = 4 << 10
)

// OpenTOC returns the index of a layer from the table of contents that it brings,
// if its annotations in the manifest say so: of eStargz or zstd:chunked. It reads
// the table and, of eStargz, what says where that is, in two ranged reads of the blob
// at most, and one more for each 8 MiB of the table. report is told of each entry that
// is not shown; it may be nil.
//
// The table is checked against its digest, which the manifest has, and each span
// against the table. That the table says the same of the layer as the layer itself, nobody
// checks.
//
// The error is [ErrNoTOC], or what the blob fails with.
func OpenTOC(ctx context.Context, digest v1.Hash, blob readat.Reader, annotations map[string]string, report func(*EntryError)) (*Index, error) {
	if report == nil {
		report = func(*EntryError) {}
	}
	source := &failing{Reader: blob}
	toc, err := locateTOC(ctx, source, annotations)
	var x *Index
	if err == nil {
		x, err = toc.read(ctx, source, report)
	}
	switch {
	case source.err != nil:
		return nil, fmt.Errorf("table of contents of layer %s: %w", digest, source.err)
	case err != nil && !errors.Is(err, ErrNoTOC):
		return nil, fmt.Errorf("layer %s: %w: %w", digest, ErrNoTOC, err)
	case err != nil:
		return nil, fmt.Errorf("layer %s: %w", digest, err)
	}
	x.Blob = digest
	return x, nil
}

// A tableOfContents is where one is in a blob, and what has to come out of it.
type tableOfContents struct {
	codec Codec
	tail  readat.Reader // of the blob, with what was read of it already
	from  int64
	to    int64
	files int64 // the files end here, or before it

	digest v1.Hash
	plain  bool // the digest is that of the plain bytes
}

// TOCDigest is the digest of the table of contents that a layer brings, as its annotations
// say; the zero Hash where they name none. Two manifests may give one blob different tables.
func TOCDigest(annotations map[string]string) v1.Hash {
	digest, ok := annotations[stargzDigest]
	for _, keys := range chunkedKeys {
		if _, has := annotations[keys.position]; has {
			digest, ok = annotations[keys.checksum], true
			break
		}
	}
	if !ok {
		return v1.Hash{}
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		return v1.Hash{}
	}
	return h
}

// locateTOC finds out where a layer has its table. zstd:chunked comes first: what
// nerdctl converts to that has the annotation of eStargz besides
// (nativeconverter/zstdchunked of the stargz-snapshotter).
func locateTOC(ctx context.Context, blob readat.Reader, annotations map[string]string) (*tableOfContents, error) {
	for _, keys := range chunkedKeys {
		if position, ok := annotations[keys.position]; ok {
			return locateChunked(blob, position, annotations[keys.checksum])
		}
	}
	if digest, ok := annotations[stargzDigest]; ok {
		return locateStargz(ctx, blob, digest)
	}
	return nil, fmt.Errorf("%w: the manifest names none", ErrNoTOC)
}

// read reads the table.
func (t *tableOfContents) read(ctx context.Context, blob readat.Reader, report func(*EntryError)) (*Index, error) {
	compressed := newTee(&blobRange{ctx: ctx, blob: t.tail, off: t.from, end: t.to, piece: rangeSize})
	in := newInputOf(compressed, t.from, int(min(max(t.to-t.from, minTOCInput), inputSize)))
	var json io.Reader
	var err error
	if t.codec == Gzip {
		json, err = stargzJSON(in)
	} else {
		var z *unzstd
		if z, err = newUnzstd(in, nil); err == nil {
			defer z.close()
			json = z
		}
	}
	if err != nil {
		return nil, err
	}
	plain := newTee(&io.LimitedReader{R: json, N: maxPlainTOC})
	b := &tocBuilder{report: report, files: t.files}
	parsed := b.parse(plain)
	checked := compressed
	if t.plain {
		checked = plain
	}
	// The digest first: nobody can say anything about a table that is another one.
	if _, err := io.Copy(io.Discard, checked); err != nil {
		return nil, err
	}
	if got := hashOf(checked.digest); got != t.digest {
		return nil, fmt.Errorf("%w: it is %s, not %s", ErrMismatch, got, t.digest)
	}
	if parsed != nil {
		return nil, parsed
	}
	return &Index{Bytes: blob.Size(), Codec: t.codec, Table: b.table.Table(), spans: b.spans(t.codec)}, nil
}

// A failing Reader remembers what it failed with, whatever others make of it.
type failing struct {
	readat.Reader
	err error
}

func (f *failing) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.Reader.ReadAt(ctx, p, off)
	if n < len(p) {
		f.err = noEOF(err)
	}
	return n, err
}
