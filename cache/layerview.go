package cache

import (
	"context"
	"errors"
	"os"
)

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
