package cache

import (
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Blob is one blob of a repository, on disk or not. It is a handle: making one
// costs nothing.
type Blob struct {
	store *Store
	key   contentKey
	from  Fetcher
}

// Blob returns the blob of a digest that is size bytes long; what is missing of
// it comes from from, or from whoever opened it first and still has it open.
//
// A blob that is whole and verified is shared by all repositories: its bytes are
// what the digest says, whoever sent them, and the directory is one user's.
func (r *Repository) Blob(d v1.Hash, size int64, from Fetcher) *Blob {
	return &Blob{r.store, contentKey{r.name, d, size}, from}
}

// Size is the blob's length in bytes.
func (b *Blob) Size() int64 { return b.key.size }

// Open returns a reader of the blob, which the caller closes. It fetches
// nothing, but reads what the disk says of the blob: all of it, where its sums
// were lost. It waits for that until ctx ends, whose cause it then returns; what
// was begun goes on. It is [ErrMismatch] where the cache has the blob and it is of
// another size.
func (b *Blob) Open(ctx context.Context) (*Reader, error) {
	if d := b.key.digest; !validDigest(d) {
		return nil, fmt.Errorf("blob %s: not a sha256 digest", d)
	}
	if b.key.size < 0 || b.key.size > maxSize {
		return nil, fmt.Errorf("blob %s: no blob has %d bytes", b.key.digest, b.key.size)
	}
	c, err := b.store.acquire(ctx, b.key, b.from)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", b.key.digest, err)
	}
	return &Reader{content: c}, nil
}

// A Reader reads one blob. It is safe for concurrent use; it is not read after
// Close.
type Reader struct {
	content *content
	once    sync.Once
	err     error // of Close
}

// Size is the blob's length in bytes.
func (r *Reader) Size() int64 { return r.content.key.size }

// Verified says that the blob is whole, and was checked against its digest.
func (r *Reader) Verified() bool { return r.content.verified() }

// ReadAt fills p with the bytes at off, by the rules of io.ReaderAt. It waits
// for what is missing until ctx ends, whose cause it then returns; the download
// goes on. After a blob turned out not to be what its digest says, it is
// [ErrMismatch].
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	c := r.content
	if off < 0 {
		return 0, fmt.Errorf("blob %s: read at %d", c.key.digest, off)
	}
	if off >= c.key.size {
		return 0, io.EOF
	}
	var atEnd error
	if left := c.key.size - off; int64(len(p)) > left {
		p, atEnd = p[:left], io.EOF
	}
	n, err := c.readAt(ctx, p, off)
	if err != nil {
		return n, fmt.Errorf("blob %s of %s: %w", c.key.digest, c.key.repository, err)
	}
	return n, atEnd
}

// Prefetch starts to fetch the first run that is missing of the n bytes at off,
// no longer than [MaxRange], and returns where it ends and that it was started.
// Then ready is called once, from another goroutine: when the run has come or
// failed, or will have come sooner than another request would be answered. Where
// nothing was started, since nothing is missing that is not on its way, or since
// it just failed, end is off+n.
func (r *Reader) Prefetch(off, n int64, ready func()) (end int64, started bool) {
	c := r.content
	end = off + n
	off = max(off, 0)
	if off >= min(end, c.key.size) {
		return end, false
	}
	run, started := c.prefetch(span{int(off / chunkSize), chunksOf(min(end, c.key.size))}, ready)
	if !started {
		return end, false
	}
	_, to := run.bytes(c.key.size)
	return to, true
}

// Close gives the blob back. Downloads that no other reader needs finish what
// they are at and stop.
func (r *Reader) Close() error {
	r.once.Do(func() { r.err = r.content.store.release(r.content, 1, 0) })
	return r.err
}
