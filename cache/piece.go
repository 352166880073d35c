package cache

import (
	"context"
	"errors"
)

// errUnkept is a disk that does not take what is written to it, or does not give it
// back. Asking the source again does not help.
var errUnkept = errors.New("cannot be kept")

// A piece is a run of chunks that came, at most bufferChunks.
type piece struct {
	span
	bytes []byte
	sums  [bufferChunks]uint32
}

// put writes chunks, which begin at off and are leased, and shows them to the
// readers. Chunks that are there already are left as they are. fresh says
// whether there were others.
func (c *content) put(ctx context.Context, f *form, b []byte, off int64) (fresh bool, err error) {
	first := int(off / chunkSize)
	end := first + chunksOf(int64(len(b)))
	for i := first; i < end; {
		var p piece
		c.mu.Lock()
		moved := c.form != f
		for i < end && f.chunks.has(i) {
			i++
		}
		for p.span = (span{i, i}); p.to < end && !f.chunks.has(p.to); p.to++ {
		}
		c.mu.Unlock()
		if moved {
			return fresh, errMoved
		}
		if p.len() == 0 {
			break
		}
		from, to := p.span.bytes(c.key.size)
		p.bytes = b[from-off : min(to-off, int64(len(b)))]
		if err := c.write(f, &p); err != nil {
			return fresh, err
		}
		fresh = true
		if err := c.show(ctx, f, &p); err != nil {
			return fresh, err
		}
		i = p.to
	}
	return fresh, nil
}

// admit says that n bytes more of the blob may be kept, or is errOversize or errFull.
func (c *content) admit(f *form, n int64) error {
	c.mu.Lock()
	there := int64(f.chunks.n-f.chunks.missing) * chunkSize
	c.mu.Unlock()
	if !f.whole && c.most < c.key.size && there+n > c.most {
		return errOversize
	}
	return c.store.admit(n)
}

// write writes a piece, and then the records that say it is there.
func (c *content) write(f *form, p *piece) error {
	var records [bufferChunks * recordSize]byte
	r := records[:0]
	for i := range p.len() {
		p.sums[i] = sum(p.bytes[i*chunkSize : min((i+1)*chunkSize, len(p.bytes))])
		r = appendRecord(r, p.from+i, p.sums[i])
	}
	err := c.admit(f, int64(len(p.bytes)))
	if err == nil {
		err = c.store.withRoom(func() error {
			_, err := f.file.WriteAt(p.bytes, int64(p.from)*chunkSize)
			if err == nil {
				_, err = f.mapping.WriteAt(r, recordOffset(p.from))
			}
			return err
		})
	}
	if err != nil && c.current() != f {
		return errMoved // it was closed by the one who changed it
	}
	if err != nil {
		return c.store.onDisk(err)
	}
	return nil
}

// show makes a piece that is on disk readable. The chunk that completes the blob
// is not, before the digest was checked.
func (c *content) show(ctx context.Context, f *form, p *piece) error {
	c.mu.Lock()
	if c.form != f {
		c.mu.Unlock()
		return errMoved
	}
	c.succeed()
	c.kept(p.span)
	for i := range p.len() {
		switch n := p.from + i; {
		case f.chunks.has(n):
		case f.chunks.missing > 1:
			f.chunks.add(n, p.sums[i])
		default:
			f.chunks.hold(n, p.sums[i])
		}
	}
	c.hashPrefix(ctx, f)
	c.wake()
	c.mu.Unlock()
	return c.settle(ctx, f)
}
