package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	keeps := l.id.valid() && mark != nil && k.size >= 0 && k.size <= maxSize
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

	// changing is held, over disk I/O, by the one who opens or replaces file.
	changing sync.Mutex
	before   *plainFile // guarded by changing; what was known of it when it was closed

	mu       sync.Mutex          // never held over I/O: every hit takes it
	file     *plainFile          // guarded by mu; nil where nothing is open
	looked   bool                // guarded by mu; that file is what there was
	making   map[int64]*madeSpan // guarded by mu; by where they begin
	keepFrom time.Time           // guarded by mu; when the disk is tried again
}

// keptPlains is of how many layers that nobody reads it stays in memory what is on
// disk, so that a program that opens many files of a layer reads its map once.
const keptPlains = 64

// acquirePlain returns the shared state of plain bytes with one more user.
func (s *Store) acquirePlain(k plainKey, dir string, keeps bool) *plainContent {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.plains[k]
	if !ok {
		if c, ok = s.idlePlains.Peek(k); ok {
			s.idlePlains.Remove(k)
		} else {
			c = &plainContent{store: s, key: k, dir: dir, keeps: keeps, slots: make(chan struct{}, maxMaking), making: map[int64]*madeSpan{}}
		}
		s.plains[k] = c
	}
	c.users++
	return c
}

// releasePlain gives back what a reader, or a span being made for him, has. The last one of
// the reader closes where his bytes come from, the last one of all the files.
func (s *Store) releasePlain(p *Plain) error {
	c := p.content
	s.mu.Lock()
	p.users--
	closer, closes := p.from.(io.Closer)
	closes = closes && p.users == 0
	c.users--
	last := c.users == 0
	if last {
		delete(s.plains, c.key)
		s.idlePlains.Add(c.key, c)
	}
	s.mu.Unlock()
	var err error
	if last {
		err = c.suspend()
	}
	if closes {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// suspend closes the files. Who comes meanwhile finds them closed, and opens them.
func (c *plainContent) suspend() error {
	c.store.spans.drop(c)
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.Lock()
	f := c.file
	c.file, c.looked = nil, false
	c.mu.Unlock()
	if f == nil {
		return nil
	}
	c.store.use(c.mapPath())
	c.before = f
	return f.close()
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

// A plainView is what a reader knows of pieces that follow each other: taken at once
// under the mutex, used without it.
type plainView struct {
	file *plainFile
	n    int // pieces
	at   [maxView]int64
	ends [maxView]int64
	sums [maxView]uint32
	// checked says that all match their sums, as long as the change time is ctime.
	checked bool
	ctime   int64
}

// view takes a view of what is there from off on, to limit at most.
func (c *plainContent) view(v *plainView, off, limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.n = 0
	if !c.looked {
		c.mu.Unlock()
		c.open()
		c.mu.Lock()
	}
	if v.file = c.file; v.file != nil {
		v.file.pieces.view(v, off, limit)
		v.ctime = v.file.ctime
	}
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

// copyOut copies the bytes at off, which are in the pieces of a view, into p. It checks
// them first, on the very bytes that it hands out, but for those that were checked
// before while the file's change time stands. Where something is damaged it makes it a
// miss and returns 0: the caller asks for it again.
func (c *plainContent) copyOut(ctx context.Context, v *plainView, p []byte, off int64) (int, error) {
	data := v.file.data
	p = p[:min(int64(len(p)), v.ends[v.n-1]-off)]
	if v.checked {
		n, err := data.ReadAt(p, off)
		// The time is looked at after the bytes were read: what changed them before
		// that has changed it.
		if n == len(p) && err == nil && v.ctime != 0 && changeTime(data) == v.ctime {
			return n, nil
		}
		c.uncheck(v)
		return 0, nil
	}
	if err := c.store.beginCopy(ctx); err != nil {
		return 0, err
	}
	defer c.store.endCopy()
	ctime := changeTime(data)
	if damaged, err := v.read(p, off); damaged >= 0 {
		c.heal(v, damaged, err)
		return 0, nil
	}
	c.check(v, ctime)
	return len(p), nil
}

// read reads the bytes at off into p, which ends in the last piece, and checks them. It
// returns the first piece that does not match its sum, or -1. Pieces that are wanted as
// a whole are read to where they are wanted.
func (v *plainView) read(p []byte, off int64) (damaged int, err error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	end := off + int64(len(p))
	first, last := 0, v.n
	if v.at[0] < off {
		first++
	}
	if v.ends[v.n-1] > end {
		last--
	}
	n := 0
	if first < last {
		from := v.at[first] - off
		n, err = v.file.data.ReadAt(p[from:v.ends[last-1]-off], v.at[first])
	}
	for i := range v.n {
		var b []byte
		short := false
		if first <= i && i < last {
			b = p[v.at[i]-off : v.ends[i]-off]
			short = v.ends[i]-v.at[first] > int64(n)
		} else {
			b = (*buffer)[:v.ends[i]-v.at[i]]
			var some int
			some, err = v.file.data.ReadAt(b, v.at[i])
			short = some < len(b)
		}
		if short || sum(b) != v.sums[i] {
			return i, err
		}
		if i < first || i >= last {
			from := max(off, v.at[i])
			copy(p[from-off:], b[from-v.at[i]:])
		}
	}
	return -1, nil
}

// check takes note that the pieces of a view matched their sums when the file's change
// time was ctime.
func (c *plainContent) check(v *plainView, ctime int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != v.file {
		return // and its pieces are those of another by now
	}
	if v.file.ctime != ctime {
		v.file.ctime = ctime
		v.file.pieces.uncheck()
	}
	if c.store.opts.Now().UnixNano()-ctime <= int64(settled) {
		return
	}
	for i := range v.n {
		v.file.pieces.check(v.at[i], v.sums[i])
	}
}

// uncheck makes those who come next check the pieces of a file that changed.
func (c *plainContent) uncheck(v *plainView) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == v.file && v.file.ctime == v.ctime {
		v.file.pieces.uncheck()
	}
}

// heal makes a damaged piece a miss. What cannot be read, for whatever cause, is damage.
func (c *plainContent) heal(v *plainView, i int, cause error) {
	c.mu.Lock()
	current := c.file == v.file
	if current {
		v.file.pieces.drop(v.at[i])
	}
	c.mu.Unlock()
	if current && !errors.Is(cause, os.ErrClosed) {
		c.store.opts.Logger.Warn("damaged plain bytes of a layer in the cache; making them again",
			"digest", c.key.id.Blob.String(), "offset", v.at[i], "error", cause)
	}
}
