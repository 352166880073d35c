package cache

import "context"

// readUnkept fills p with bytes at off, as far as one window goes; with none where
// the blob came to be whole meanwhile.
func (c *content) readUnkept(ctx context.Context, p []byte, off int64) (int, error) {
	n := int(off / windowSize)
	if c.inOrder(n) {
		if err := c.hashBefore(ctx, n); err != nil {
			return 0, err
		}
	}
	for range maxHeals {
		w, err := c.window(ctx, n)
		if err != nil {
			return 0, err
		}
		c.hashed(w)
		ok, err := c.mayHand(n)
		m := 0
		if ok {
			m = copy(p, w.bytes[off-int64(n)*windowSize:])
		}
		c.store.windows.give(w, true)
		if ok {
			c.ahead(n)
			return m, nil
		}
		if err != nil {
			return 0, err
		}
		if c.verified() {
			return 0, nil
		}
		if err := c.prove(ctx); err != nil {
			return 0, err
		}
	}
	return 0, errOther // of what was proven, something else comes each time
}

// mayHand says whether a window may be handed out, and takes note that it was: not
// the last that nobody has had, before the digest was checked.
func (c *content) mayHand(n int) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poison != nil {
		return false, c.poison
	}
	proven := c.unkept != nil && c.unkept.proven
	t := c.form.chunks
	s := c.windowSpan(n)
	var fresh []int
	for i := s.from; i < s.to; i++ {
		if !t.wasRead(i) {
			fresh = append(fresh, i)
		}
	}
	if !proven && t.missing-t.lost-len(fresh) <= 0 {
		return false, nil
	}
	for _, i := range fresh {
		t.lose(i)
	}
	return true, nil
}

// windowSpan is which chunks a window has.
func (c *content) windowSpan(n int) span {
	return span{n * windowChunks, min((n+1)*windowChunks, chunksOf(c.key.size))}
}

// window returns a window that is there, fetching it where it is not. The caller
// gives it back.
func (c *content) window(ctx context.Context, n int) (*window, error) {
	w, made, err := c.store.windows.take(ctx, windowKey{c, n}, true)
	if err != nil {
		return nil, err
	}
	if made {
		c.fetchWindow(w)
	}
	select {
	case <-w.done:
		err = w.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		c.store.windows.give(w, true)
		return nil, err
	}
	if err != nil {
		c.store.windows.give(w, false)
		return nil, err
	}
	return w, nil
}

// inOrder says whether one who reads window n reads in order, and has not only begun.
func (c *content) inOrder(n int) bool {
	return n > 0 && (c.store.windows.has(windowKey{c, n - 1}) || c.onDiskAll(n-1))
}

// ahead has the windows after n fetched for one who reads in order, where there is
// room for them.
func (c *content) ahead(n int) {
	last := int((c.key.size - 1) / windowSize)
	if !c.inOrder(n) {
		return
	}
	c.mu.Lock()
	// Of a source that knows no ranges one body is read, in order.
	may := !c.rangeless && !c.failure.stands(c.store.opts.Now())
	c.mu.Unlock()
	for next := n + 1; next <= min(n+windowsAhead, last) && may; next++ {
		k := windowKey{c, next}
		if c.store.windows.has(k) || c.onDiskAll(next) {
			continue
		}
		w, made, err := c.store.windows.take(c.store.life, k, false)
		if err != nil || w == nil {
			return
		}
		if made {
			c.fetchWindow(w)
		}
		c.store.windows.give(w, true)
	}
}

// onDiskAll says whether all chunks of a window are on disk.
func (c *content) onDiskAll(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.form == nil || c.form.file == nil {
		return false
	}
	_, missing := c.form.chunks.firstMissing(c.windowSpan(n))
	return !missing
}
