package rootfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxPlain is how many plain bytes a layer has at most, unless told otherwise:
// a megabyte of gzip can be a gigabyte of zeros.
const MaxPlain = 256 << 30

// PassOptions are those of a pass.
type PassOptions struct {
	// MaxPlain is how many plain bytes there may be. Zero is [MaxPlain].
	MaxPlain int64
	// Report is told of each entry that is not shown, from another goroutine. It may be
	// nil.
	Report func(*EntryError)
}

// Pass reads a layer once, from its beginning to its end, writes its plain
// bytes to plain, and returns its index. Whatever was written before an error is not
// to be believed.
//
// The layer is that of a digest, and compressed sees to that: it is read to its end
// whatever is found in it, and ends with an error where it had other bytes, as readers
// of package cache do. They were hashed when they came.
//
// The error is [ErrFormat] for a layer that cannot be read, [ErrTooLarge], or what
// compressed or plain failed with. When ctx ends, Pass returns its cause as soon as the
// read under way does: compressed has to heed the same context.
//
// Memory is bounded: it takes two megabytes, the window of a zstd frame (128 MiB at
// most, and 8 usually), and what the index takes.
func Pass(ctx context.Context, blob v1.Hash, compressed io.Reader, plain io.Writer, opts PassOptions) (*Index, error) {
	x, err := pass(ctx, blob, compressed, plain, opts)
	if err != nil {
		return nil, fmt.Errorf("read layer %s: %w", blob, err)
	}
	return x, nil
}

func pass(ctx context.Context, blob v1.Hash, compressed io.Reader, plain io.Writer, opts PassOptions) (*Index, error) {
	if opts.MaxPlain == 0 {
		opts.MaxPlain = MaxPlain
	}
	in := newInput(&passInput{ctx: ctx, from: compressed}, 0)
	head, err := in.Peek(sniffed)
	if err != nil && err != io.EOF { //nolint:errorlint // the end of a short layer
		return nil, err
	}
	codec, err := Sniff(head)
	s := startSink(plain, opts.Report)
	defer func() { _ = s.wait() }() // a decoder may panic
	hasTOC := false
	if err == nil {
		hasTOC, err = s.fill(codec, in, opts.MaxPlain)
	}
	if failed := s.wait(); err == nil {
		err = failed
	}
	if err != nil && !errors.Is(err, ErrFormat) {
		return nil, err
	}
	// What is malformed may not be the layer that was asked for.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	table := s.table
	if hasTOC {
		if table, err = withoutHousekeeping(table); err != nil {
			return nil, err
		}
	}
	return &Index{
		Blob: blob, Bytes: in.src.n, Codec: codec, DiffID: hashOf(s.divider.digest),
		Table: table, spans: s.divider.end(in.src.n),
	}, nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// A passInput ends with its context.
type passInput struct {
	ctx  context.Context // it lives for one call
	from io.Reader
}

func (p *passInput) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.from.Read(b)
}
