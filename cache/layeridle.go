package cache

import (
	"io"
	"time"
)

// keptPlains is of how many layers that nobody reads it stays in memory what is on
// disk, so that a program that opens many files of a layer reads its map once.
const keptPlains = 64

// lingering is for how long files are open that nobody reads. To open them costs as much as
// to read a small file, and who reads one of a layer reads more.
const lingering = 2 * time.Second

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
// the reader closes where his bytes come from; the last one of all leaves the files open
// for a while.
func (s *Store) releasePlain(p *Plain) error {
	c := p.content
	s.mu.Lock()
	p.users--
	closer, closes := p.from.(io.Closer)
	closes = closes && p.users == 0
	c.users--
	closed := false
	if c.users == 0 {
		delete(s.plains, c.key)
		s.idlePlains.Add(c.key, c)
		if closed = s.closed; !closed {
			c.linger()
		}
	}
	s.mu.Unlock()
	if closed {
		c.close()
	}
	if closes {
		return closer.Close()
	}
	return nil
}

// linger begins the time after which the files are closed. store.mu is held.
func (c *plainContent) linger() {
	if c.idle == nil {
		c.idle = time.AfterFunc(lingering, c.close)
	} else {
		c.idle.Reset(lingering)
	}
}

// close closes the files if nobody reads.
func (c *plainContent) close() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.suspend()
}

// suspend closes the files, and forgets what is in memory of them, unless somebody has
// come meanwhile. c.changing is held.
func (c *plainContent) suspend() {
	f := c.detach()
	if f == nil {
		return
	}
	c.store.use(c.mapPath())
	c.before = f
	_ = f.close() // of which every write was checked
}

// detach takes the files away from readers that there are none of.
func (c *plainContent) detach() *plainFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.users > 0 {
		return nil
	}
	c.store.spans.drop(c)
	f := c.file
	c.file, c.looked = nil, false
	return f
}

// dropPlains closes the files that nobody reads, but for those that somebody is about to
// open or close: who makes room may be one who opens another.
func (s *Store) dropPlains() {
	s.mu.Lock()
	idle := s.idlePlains.Values()
	s.mu.Unlock()
	for _, c := range idle {
		if c.changing.TryLock() {
			c.suspend()
			c.changing.Unlock()
		}
	}
}
