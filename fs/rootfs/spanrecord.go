package rootfs

import (
	"encoding/binary"
	"fmt"
)

const (
	// minSpanRecord is the length of the shortest record: five numbers, and the sum.
	minSpanRecord = 5 + len(sum{})
	// hasState is the bit that says that there is one.
	hasState = 1 << 7
)

// encode returns the records of all spans. One is, in numbers of variable length
// but for the sum:
//
//	how long the span before it is
//	how far its compressed bytes begin behind those of the span before it, which may be less than zero
//	how many they are
//	how many plain bytes come before it
//	how it begins: the kind, the bit from the fifth of the byte on, and in the last whether
//	there is a state
//	the sum
//	the state
//	how long its window is, where it has one
func (s *spans) encode() []byte {
	b := make([]byte, 0, len(s.list)*(minSpanRecord+8))
	off, from := int64(0), int64(0)
	for i, span := range s.list {
		b = binary.AppendUvarint(b, uint64(span.off-off))
		b = binary.AppendVarint(b, span.from-from)
		b = binary.AppendUvarint(b, uint64(span.to-span.from))
		b = binary.AppendUvarint(b, uint64(span.skip))
		how, state := byte(span.start)|span.bit<<4, s.states.of(i)
		if state != nil {
			how |= hasState
		}
		b = append(append(b, how), span.sum[:]...)
		b = append(b, state...)
		if span.start == startBlock {
			b = binary.AppendUvarint(b, uint64(len(s.windows.of(i))))
		}
		off, from = span.off, span.from
	}
	return b
}

// parseSpans reads n records, of a layer of so many plain and compressed bytes.
func parseSpans(records, windows []byte, n int, size, compressed int64) (*spans, error) {
	if n < 0 || n > len(records)/minSpanRecord || size < 0 || compressed < 0 || (n == 0) != (size == 0) {
		return nil, fmt.Errorf("%w: it cannot have %d spans", ErrDamaged, n)
	}
	s := &spans{list: make([]span, n), size: size}
	r := recordReader{b: records}
	last := span{}
	for i := range s.list {
		next := &s.list[i]
		next.off = last.off + r.uvarint()
		next.from = last.from + r.varint()
		next.to = next.from + r.uvarint()
		skip := r.uvarint()
		next.skip = uint32(skip)
		how := r.bytes(1)
		sum := r.bytes(len(next.sum))
		if how[0]&hasState != 0 {
			s.states.add(i, r.bytes(stateSize))
		}
		if r.failed {
			return nil, fmt.Errorf("%w: span %d is cut", ErrDamaged, i)
		}
		next.start, next.bit = start(how[0]&0xf), how[0]&^hasState>>4
		copy(next.sum[:], sum)
		inOrder := next.off > last.off && i > 0 || next.off == 0 && i == 0
		inside := next.off < size && next.from >= 0 && next.from <= next.to && next.to <= compressed && skip == int64(next.skip)
		known := next.start >= startPlain && next.start <= startZeros && (next.bit == 0 || next.bit < 8 && next.start == startBlock)
		if !inOrder || !inside || !known {
			return nil, fmt.Errorf("%w: span %d cannot be", ErrDamaged, i)
		}
		if s.states.of(i) != nil {
			if _, err := s.hash(i); err != nil {
				return nil, err
			}
		}
		if next.start == startBlock {
			length := r.uvarint()
			if r.failed || length > int64(len(windows)) {
				return nil, fmt.Errorf("%w: the window of span %d is cut", ErrDamaged, i)
			}
			s.windows.add(i, windows[:length:length])
			windows = windows[length:]
		}
		last = *next
	}
	if len(r.b) > 0 || len(windows) > 0 {
		return nil, fmt.Errorf("%w: there is something after its spans", ErrDamaged)
	}
	return s, nil
}

// A recordReader reads numbers and bytes, and remembers that there were not enough.
type recordReader struct {
	b      []byte
	failed bool
}

// uvarint returns a number that is not less than zero, and no larger than an offset.
func (r *recordReader) uvarint() int64 {
	v, n := binary.Uvarint(r.b)
	r.taken(n)
	if v > 1<<62 {
		r.failed = true
		return 0
	}
	return int64(v)
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.taken(n)
	return v
}

func (r *recordReader) taken(n int) {
	if n <= 0 {
		r.failed = true
		return
	}
	r.b = r.b[n:]
}

// bytes returns n bytes, or none.
func (r *recordReader) bytes(n int) []byte {
	if len(r.b) < n {
		r.failed = true
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
