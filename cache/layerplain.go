package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Spans makes the plain bytes of a layer out of its blob, a span at once: it says where
// the span that holds off begins and ends, and writes all of it. What CopySpan has
// written is right when it returns no error, and otherwise worth nothing. It is used by
// several goroutines at once.
//
// One that is an [io.Closer] is closed when it is not needed any more.
type Spans interface {
	Size() int64
	Span(off int64) (begin, end int64)
	CopySpan(ctx context.Context, w io.Writer, off int64) error
}

// A Plain reads the plain bytes of a layer: from disk what is there, and what is
// missing as it is made. It is safe for concurrent use; it is not read after Close.
type Plain struct {
	content *plainContent
	from    Spans
	users   int // guarded by store.mu; one is who has it, the others are spans being made
	once    sync.Once
}

// Plain returns a reader of the plain bytes, which the caller closes; what is missing
// comes from from, or from whoever reads the layer as well. It does nothing yet. As
// long as one that was read from is open, what is on disk of the layer stays.
//
// The order of the bytes follows from the index, where that is of a table of contents.
// So it is read, or put, by this handle before: otherwise nothing is kept.
func (l *Layer) Plain(from Spans) *Plain {
	k := plainKey{id: l.id, size: from.Size()}
	mark := l.mark.Load()
	if mark != nil {
		k.mark = *mark
	}
	keeps := l.valid && mark != nil && k.size >= 0 && k.size <= maxSize
	return &Plain{content: l.store.acquirePlain(k, l.dir, keeps), from: from, users: 1}
}

// Size is how many plain bytes there are.
func (p *Plain) Size() int64 { return p.content.key.size }

// ReadAt fills b with the plain bytes at off, by the rules of io.ReaderAt. It waits for
// what is made until ctx ends, whose cause it then returns; what was begun goes on to
// the end of its span. Other errors are those of who makes it.
func (p *Plain) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	c := p.content
	if off < 0 {
		return 0, fmt.Errorf("layer %s: read at %d", c.key.id.Blob, off)
	}
	if off >= c.key.size {
		return 0, io.EOF
	}
	var atEnd error
	if left := c.key.size - off; int64(len(b)) > left {
		b, atEnd = b[:left], io.EOF
	}
	n, err := c.readAt(ctx, p, b, off)
	c.store.counts.read.Add(int64(n))
	if err != nil {
		return n, fmt.Errorf("plain bytes of layer %s: %w", c.key.id.Blob, err)
	}
	return n, atEnd
}

// ReadKept fills b with the plain bytes at off where all of them are on disk, and says
// whether. It has nothing made and waits for nobody but the disk. What is damaged is
// not there.
func (p *Plain) ReadKept(b []byte, off int64) bool {
	c := p.content
	if off < 0 || off > c.key.size-int64(len(b)) {
		return false
	}
	var v plainView
	for n := 0; n < len(b); {
		at := off + int64(n)
		if c.view(&v, at, off+int64(len(b))); v.n == 0 {
			return false
		}
		m, err := c.copyOut(context.Background(), &v, b[n:], at)
		if n += m; m == 0 || err != nil {
			return false
		}
	}
	c.store.counts.read.Add(int64(len(b)))
	return true
}

// Reach is where the run of plain bytes ends that are on disk from off on, at limit at most:
// it is off where that one is not there. It makes nothing.
func (p *Plain) Reach(off, limit int64) int64 {
	c := p.content
	limit = min(limit, c.key.size)
	if off < 0 || off >= limit {
		return off
	}
	c.mu.Lock()
	looked := c.looked
	c.mu.Unlock()
	if !looked {
		c.open()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return off
	}
	return c.file.pieces.reach(off, limit)
}

// Close gives the layer back. Spans that are being made are made to their end.
func (p *Plain) Close() error {
	var err error
	p.once.Do(func() { err = p.content.store.releasePlain(p) })
	return err
}

// A plainKey is what readers share: the plain bytes of a layer, in one order.
type plainKey struct {
	id   LayerID
	mark layerMark
	size int64
}

// plainContent is the state of plain bytes that all their readers in the process share.
type plainContent struct {
	store *Store
	key   plainKey
	dir   string
	keeps bool          // that they can be on disk at all
	slots chan struct{} // one for each span that is being made
	users int           // guarded by store.mu
	idle  *time.Timer   // guarded by store.mu; to close the files

	// changing is held, over disk I/O, by the one who opens or replaces file.
	changing sync.Mutex
	before   *plainFile // guarded by changing; what was known of it when it was closed

	mu       sync.Mutex          // never held over I/O: every hit takes it
	file     *plainFile          // guarded by mu; nil where nothing is open
	looked   bool                // guarded by mu; that file is what there was
	making   map[int64]*madeSpan // guarded by mu; by where they begin
	keepFrom time.Time           // guarded by mu; when the disk is tried again
}

// readAt fills b, which lies within the plain bytes.
func (c *plainContent) readAt(ctx context.Context, p *Plain, b []byte, off int64) (n int, err error) {
	var v plainView
	others := 0 // spans that another reader's source has failed
	for heals := 0; n < len(b); {
		at := off + int64(n)
		c.view(&v, at, off+int64(len(b)))
		m := 0
		if v.n > 0 {
			m, err = c.copyOut(ctx, &v, b[n:], at)
		} else {
			m, err = c.await(ctx, p, b[n:], at)
			if failed := (*othersError)(nil); errors.As(err, &failed) {
				if others++; others == 1 {
					err = nil
				}
			}
		}
		if err != nil {
			return n, err
		}
		if n += m; m > 0 {
			heals = 0
		} else if heals++; heals == 2*maxHeals {
			c.unkeep(c.store.onDisk(errUnsound))
		} else if heals > 4*maxHeals {
			return n, c.store.onDisk(errUnsound)
		}
	}
	return n, nil
}

// open opens what is on disk, if nobody did.
func (c *plainContent) open() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.Lock()
	looked := c.looked
	c.mu.Unlock()
	if looked {
		return
	}
	var f *plainFile
	if c.keeps {
		var err error
		if f, err = c.openFile(); err != nil {
			c.unkeep(c.store.onDisk(err))
		}
	}
	_ = c.replace(f) // there is none before
}
