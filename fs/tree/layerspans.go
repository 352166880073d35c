package tree

import (
	"context"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// layerSpans makes plain bytes of a layer out of its blob. That is opened for the first span,
// since most who read a file find its bytes on disk, and stays open for those that follow: what
// the disk has of a blob is read when it is opened. It is safe for concurrent use.
type layerSpans struct {
	repo  *repository
	layer v1.Descriptor
	index *rootfs.Index
	plain *rootfs.PlainReader // for what the index alone says

	mu   sync.Mutex
	blob *spanBlob // guarded by mu; nil where none is open
}

// A spanBlob is an open blob that spans are made of.
type spanBlob struct {
	*cache.Reader
	users int // guarded by layerSpans.mu; one is layerSpans, as long as it has it
}

var (
	_ cache.Spans = (*layerSpans)(nil)
	_ io.Closer   = (*layerSpans)(nil)
)

func (s *layerSpans) Size() int64 { return s.plain.Size() }

func (s *layerSpans) Span(off int64) (begin, end int64) { return s.plain.Span(off) }

func (s *layerSpans) CopySpan(ctx context.Context, w io.Writer, off int64) error {
	blob, err := s.open(ctx)
	if err != nil {
		return err
	}
	// It is known what of the blob is needed: nothing is fetched ahead.
	err = s.index.Plain(blob.Reader).CopySpan(ctx, w, off)
	if err != nil {
		s.leave(blob) // what is wrong with it need not be the next time
	}
	if failed := s.give(blob); err == nil {
		err = failed
	}
	return err
}

// fetch has the bytes of the blob fetched that n plain ones at off are made of, or the first of
// these, as few requests as it takes, and waits for none. It returns up to which plain byte.
func (s *layerSpans) fetch(ctx context.Context, off, n int64) (end int64, err error) {
	from, to, end := s.plain.Compressed(off, n)
	if from == to {
		return end, nil
	}
	blob, err := s.open(ctx)
	if err != nil {
		return off, err
	}
	for from < to {
		from, _ = blob.Prefetch(from, to-from, func() {})
	}
	return end, s.give(blob)
}

// open returns the blob with one more user, who gives it back.
func (s *layerSpans) open(ctx context.Context) (*spanBlob, error) {
	s.mu.Lock()
	blob := s.blob
	if blob != nil {
		blob.users++
	}
	s.mu.Unlock()
	if blob != nil {
		return blob, nil
	}
	r, err := s.repo.local.Blob(s.layer.Digest, s.layer.Size, s.repo.fetcher(s.layer)).Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s@%s: %w", s.repo.name(), s.layer.Digest, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	blob = &spanBlob{r, 1}
	if s.blob == nil { // otherwise another was first, and this one is for one span
		s.blob = blob
		blob.users++
	}
	return blob, nil
}

// leave has the next span open the blob anew.
func (s *layerSpans) leave(blob *spanBlob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blob == blob {
		s.blob = nil
		blob.users--
	}
}

// give takes a user off a blob. The last one closes it.
func (s *layerSpans) give(blob *spanBlob) error {
	s.mu.Lock()
	blob.users--
	last := blob.users == 0
	s.mu.Unlock()
	if last {
		return blob.Close()
	}
	return nil
}

// Close gives the blob back. No span is made any more.
func (s *layerSpans) Close() error {
	s.mu.Lock()
	blob := s.blob
	s.blob = nil
	s.mu.Unlock()
	if blob == nil {
		return nil
	}
	return s.give(blob)
}
