package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Direct reads a few ranges of a blob of which nothing is on disk, exactly those and none
// of what is around them, and keeps nothing of them: the caller makes something else
// of the bytes that is kept. Of an image of twenty layers, each with a table of contents of
// two kilobytes, chunks would be ten times as much, and a file and its map for each layer
// take longer to make than the tables take to read.
//
// Where it cannot, it is a [Reader] of the blob: of one that is on disk, in part or all of it,
// or open; of one that is no longer than a chunk, since all of that comes at once, and its
// files with it; where the source sends all of the blob, which then comes once and
// is kept; and where an answer ended early.
//
// It is for one goroutine.
type Direct struct {
	blob   *Blob
	opens  bool    // it has to be a Reader
	reader *Reader // nil before
	whole  *handedOver
}

// errNotDirect is a range that did not come as it was asked for, and may come as chunks.
var errNotDirect = errors.New("not the range alone")

// Direct returns what reads a few ranges of the blob. The caller closes it. It fetches
// nothing.
func (b *Blob) Direct() *Direct {
	return &Direct{blob: b, opens: b.key.size <= chunkSize || !validDigest(b.key.digest) || b.store.knows(b.key)}
}

// knows says whether something of a blob is open or on disk.
func (s *Store) knows(k contentKey) bool {
	s.mu.Lock()
	_, open := s.contents[k]
	s.mu.Unlock()
	if open {
		return true
	}
	for _, path := range []string{s.blobPath(k.digest), s.partialPath(k.repository, k.digest)} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// Size is the blob's length in bytes.
func (d *Direct) Size() int64 { return d.blob.key.size }

// ReadAt is [Reader.ReadAt]. It is one request.
func (d *Direct) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !d.opens && off >= 0 && off < d.Size() && len(p) > 0 {
		n, err := d.ask(ctx, p[:min(int64(len(p)), d.Size()-off)], off)
		switch {
		case err == nil && n < len(p):
			return n, io.EOF
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case !errors.Is(err, errNotDirect):
			return n, err
		}
		d.opens = true
	}
	if d.reader == nil {
		blob := *d.blob
		if d.whole != nil {
			blob.from = d.whole
		}
		var err error
		if d.reader, err = blob.Open(ctx); err != nil {
			return 0, err
		}
	}
	return d.reader.ReadAt(ctx, p, off)
}

// ask fetches what fills p.
func (d *Direct) ask(ctx context.Context, p []byte, off int64) (int, error) {
	k, store := d.blob.key, d.blob.store
	// A body that is handed over outlives ctx.
	asked, cancel := context.WithCancel(store.life)
	leave := context.AfterFunc(ctx, cancel)
	body, start, err := d.blob.from.BlobRange(asked, k.digest, off, int64(len(p)))
	if err != nil {
		leave()
		cancel()
		if store.life.Err() != nil {
			err = errClosed
		}
		return 0, fmt.Errorf("blob %s of %s: %w", k.digest, k.repository, err)
	}
	whole := start != off || isWhole(body)
	store.note(k.repository, body, whole)
	if whole && start == 0 && leave() {
		d.whole = &handedOver{Fetcher: d.blob.from, bodies: make(chan io.ReadCloser, 1)}
		d.whole.bodies <- &lastBody{body, cancel}
		return 0, errNotDirect
	}
	defer cancel()
	defer leave()
	n := 0
	if !whole {
		n, _ = io.ReadFull(body, p) // what is missing is asked for again
		store.counts.fetched.Add(int64(n))
	}
	_ = body.Close() // all that is needed was read
	if n < len(p) {
		return 0, errNotDirect
	}
	return n, nil
}

// Close gives the blob back, if it was opened.
func (d *Direct) Close() error {
	if d.whole != nil {
		d.whole.drop()
	}
	if d.reader == nil {
		return nil
	}
	return d.reader.Close()
}

// A handedOver is a source that was asked for a range already, and sends all of the blob:
// what is asked for first gets that, and no second request is made.
type handedOver struct {
	Fetcher
	bodies chan io.ReadCloser // the one, until somebody takes it
}

var _ Disputer = (*handedOver)(nil)

func (h *handedOver) BlobRange(ctx context.Context, d v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	select {
	case body := <-h.bodies:
		return body, 0, nil
	default:
		return h.Fetcher.BlobRange(ctx, d, off, n)
	}
}

// Dispute tells the source.
func (h *handedOver) Dispute(d v1.Hash) { dispute(h.Fetcher, d) }

// drop closes the body if nobody took it.
func (h *handedOver) drop() {
	select {
	case body := <-h.bodies:
		_ = body.Close() // it is not read
	default:
	}
}

// A lastBody is a body of all of a blob, whose request ends with it.
type lastBody struct {
	io.ReadCloser
	end context.CancelFunc
}

// Whole says that it is all of the blob.
func (*lastBody) Whole() bool { return true }

func (b *lastBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
