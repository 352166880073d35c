package cache

import (
	"context"
	"errors"
	"io"
	"time"
)

// feedIdle is how long a feed stays open of which nothing is wanted. It has one of the
// few connections to its host, whose others wait: some programs that hold a file open and
// do not read would have all of them. Less would have one who pauses begin anew.
const feedIdle = 20 * time.Second

// A feed is the body of a source that knows no ranges, for a blob that is not kept: it
// stays open between two windows, so that one who reads in order makes one request.
type feed struct {
	body io.ReadCloser
	at   int64       // where in the blob it is, in bytes
	idle *time.Timer // ends it; nil before anything was read
}

// fetchFed fills b with bytes at off, as far as they come, from the feed. Where that is
// past them, it begins anew.
func (c *content) fetchFed(ctx context.Context, b []byte, off int64) (n int, err error) {
	select {
	case c.feeding <- struct{}{}:
	case <-ctx.Done():
		return 0, errClosed
	}
	defer func() { <-c.feeding }()
	return c.readFeed(b, off)
}

// readFeed does that. The caller is the one who is at it.
func (c *content) readFeed(b []byte, off int64) (n int, err error) {
	if c.feed != nil && c.feed.idle != nil {
		c.feed.idle.Stop()
	}
	if c.feed != nil && c.feed.at > off {
		c.endFeed()
	}
	if c.feed == nil {
		body, start, err := c.from.BlobRange(c.store.life, c.key.digest, off, c.key.size-off)
		if err != nil {
			return 0, err
		}
		c.feed = &feed{body: body, at: start}
	}
	defer func() {
		if err != nil || n < len(b) {
			c.endFeed()
			return
		}
		idle, at := c.feed, c.feed.at
		idle.idle = time.AfterFunc(feedIdle, func() { c.endIdle(idle, at) })
	}()
	if skip := off - c.feed.at; skip > 0 {
		m, err := io.CopyN(io.Discard, c.feed.body, skip)
		c.feed.at += m
		c.store.counts.fetched.Add(m)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
	}
	n, err = io.ReadFull(c.feed.body, b)
	c.feed.at += int64(n)
	c.store.counts.fetched.Add(int64(n))
	c.store.counts.unkept.Add(int64(n))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// endIdle closes a feed of which nothing was wanted since it was at a place.
func (c *content) endIdle(idle *feed, at int64) {
	select {
	case c.feeding <- struct{}{}:
	default:
		return // something is wanted now
	}
	defer func() { <-c.feeding }()
	if c.feed == idle && idle.at == at {
		c.endFeed()
	}
}

// endFeed closes the feed. The caller is the one who is at it.
func (c *content) endFeed() {
	if c.feed != nil {
		if c.feed.idle != nil {
			c.feed.idle.Stop()
		}
		_ = c.feed.body.Close() // all that is needed was read
		c.feed = nil
	}
}
