package readat

import (
	"context"
	"sort"
)

// Concat returns the parts one after the other as one Reader. Parts of length
// zero are dropped. A Concat forwards Prefetch to the first part that has
// something to fetch.
func Concat(parts ...Reader) Reader {
	c := &concat{}
	for _, part := range parts {
		if part.Size() == 0 {
			continue
		}
		c.parts = append(c.parts, part)
		c.size += part.Size()
		c.ends = append(c.ends, c.size)
	}
	return c
}

// concat keeps the offset at which each part ends; finding the part of an
// offset is one binary search over them.
type concat struct {
	parts []Reader
	ends  []int64
	size  int64
}

var (
	_ Reader     = (*concat)(nil)
	_ Prefetcher = (*concat)(nil)
)

func (c *concat) Size() int64 { return c.size }

// find returns the index of the part that holds off, and the offset at which
// that part starts. off must lie within the sequence.
func (c *concat) find(off int64) (i int, start int64) {
	i = sort.Search(len(c.ends), func(i int) bool { return c.ends[i] > off })
	return i, c.ends[i] - c.parts[i].Size()
}

func (c *concat) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	p, atEnd, err := clamp(p, off, c.size)
	if err != nil || len(p) == 0 {
		return 0, cmpEOF(err, atEnd)
	}
	read := 0
	for i, start := c.find(off); read < len(p); i++ {
		part := c.parts[i]
		want := p[read:]
		inPart := off + int64(read) - start
		if left := part.Size() - inPart; int64(len(want)) > left {
			want = want[:left]
		}
		n, err := part.ReadAt(ctx, want, inPart)
		read += n
		if n < len(want) {
			return read, unexpected(err)
		}
		start += part.Size()
	}
	return read, eof(atEnd)
}

func (c *concat) Prefetch(off, n int64, ready func()) (int64, bool) {
	end := off + n
	off = max(off, 0)
	if off >= min(end, c.size) {
		return end, false
	}
	for i, start := c.find(off); i < len(c.parts) && start < end; i++ {
		if p, ok := c.parts[i].(Prefetcher); ok {
			from := max(off, start)
			if to, started := p.Prefetch(from-start, min(end, c.ends[i])-from, ready); started {
				return start + to, true
			}
		}
		start = c.ends[i]
	}
	return end, false
}
