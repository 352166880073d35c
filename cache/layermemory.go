package cache

import (
	"slices"
	"sync"
)

const (
	// maxSpanBytes is how much of a span that the disk does not take stays in memory: all
	// of an ordinary one, and what comes next of one that is a whole layer.
	maxSpanBytes = 8 << 20
	// maxSpansBytes is how much of them there is, of all layers together, besides what is
	// being made.
	maxSpansBytes = 32 << 20
)

// spanBytes are plain bytes of a span in memory.
type spanBytes struct {
	content *plainContent
	off     int64
	bytes   []byte
}

// has says whether they have the byte at off. It may be called of nil.
func (m *spanBytes) has(off int64) bool {
	return m != nil && m.off <= off && off < m.off+int64(len(m.bytes))
}

// A spanWriter keeps what comes of a span from the byte where mem begins up to end.
type spanWriter struct {
	at  int64 // of the next byte that comes
	mem *spanBytes
	end int64
}

func (w *spanWriter) Write(b []byte) (int, error) {
	from, to := max(w.at, w.mem.off), min(w.at+int64(len(b)), w.end)
	if from < to {
		if w.mem.bytes == nil { // nothing, as long as the source is silent
			w.mem.bytes = make([]byte, 0, w.end-w.mem.off)
		}
		w.mem.bytes = append(w.mem.bytes, b[from-w.at:to-w.at]...)
	}
	w.at += int64(len(b))
	return len(b), nil
}

// spanMemory has the spans that were made last and could not be kept on disk.
type spanMemory struct {
	mu   sync.Mutex
	all  []*spanBytes // guarded by mu; the one that was used last is the last
	size int64        // guarded by mu
}

// get returns the one that has a byte, or nil.
func (s *spanMemory) get(c *plainContent, off int64) *spanBytes {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.all {
		if m.content == c && m.has(off) {
			s.all = append(slices.Delete(s.all, i, i+1), m)
			return m
		}
	}
	return nil
}

// put keeps one, in the place of those that were used longest ago.
func (s *spanMemory) put(m *spanBytes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, m)
	s.size += int64(len(m.bytes))
	for s.size > maxSpansBytes {
		s.size -= int64(len(s.all[0].bytes))
		s.all = slices.Delete(s.all, 0, 1)
	}
}

// drop forgets those of a layer that nobody reads any more.
func (s *spanMemory) drop(c *plainContent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(m *spanBytes) bool {
		if m.content == c {
			s.size -= int64(len(m.bytes))
			return true
		}
		return false
	})
}
