package rootfs

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
	"sort"
)

// A sum is the first half of the SHA-256 of a span's plain bytes, or of all up to its end
// where there is a state for that. Whoever does not choose the layer needs 2^128 tries to find
// other bytes with the same, and tables of contents have a sum for each file.
type sum [16]byte

func sumOf(h hash.Hash) sum {
	var full [sha256.Size]byte
	return sum(h.Sum(full[:0])[:len(sum{})])
}

// A span is a run of plain bytes that is decoded from its beginning, and
// checked as one.
type span struct {
	off      int64  // of its first plain byte; it ends where the next begins
	from, to int64  // the compressed bytes that are wanted for it
	skip     uint32 // plain bytes that come before it when decoding begins at from
	sum      sum
	start    start
	bit      uint8 // of a block
}

// spans are all of a layer, in order and without a gap. They are immutable.
type spans struct {
	list []span
	size int64 // plain bytes in all
	// windows are the plain bytes before those that begin with a block, each
	// compressed with zstd.
	windows perSpan
	// states are those of a SHA-256 of all plain bytes before a span; none of the first,
	// nor where each span has a sum of its own.
	states perSpan
}

// perSpan is something that some spans have, by the index of the span. Those after the last
// one are left out.
type perSpan [][]byte

// of is what span i has, or nil.
func (p perSpan) of(i int) []byte {
	if i >= len(p) {
		return nil
	}
	return p[i]
}

// add takes what span i has, which comes after all others that have something.
func (p *perSpan) add(i int, b []byte) {
	for len(*p) < i {
		*p = append(*p, nil)
	}
	*p = append(*p, b)
}

// find returns the index of the span that holds off, which must be less than
// the size.
func (s *spans) find(off int64) int {
	return sort.Search(len(s.list), func(i int) bool { return s.list[i].off > off }) - 1
}

// end is where a span ends.
func (s *spans) end(i int) int64 {
	if i+1 < len(s.list) {
		return s.list[i+1].off
	}
	return s.size
}

// stateSize is the length of the state of a SHA-256, in bytes. A state can be taken up by the
// version of Go that has saved it, and as yet by all others.
var stateSize = len(stateOf(sha256.New()))

func stateOf(h hash.Hash) []byte {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // that of crypto/sha256 returns none
	}
	return state
}

// hash returns the SHA-256 that has the sum of a span when it was given its plain bytes.
func (s *spans) hash(i int) (hash.Hash, error) {
	h := sha256.New()
	if state := s.states.of(i); state != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return nil, fmt.Errorf("%w: where span %d begins: %w", ErrDamaged, i, err)
		}
	}
	return h, nil
}

const (
	// minSpan is how many plain bytes a span has at least, but for the last, and
	// those that a table of contents makes. A window for each takes 0.3 % of them;
	// one is 1.5 MB to fetch, of ordinary files, and 20 ms to inflate.
	minSpan = 4 << 20
	// minSpans is how many there are before they grow: a layer of 64 GiB has 6,000,
	// so that what is kept of it fits into memory however little it can be compressed.
	minSpans = 2048
)

// spanAfter is how long a span that begins at an offset is at least. A block of
// deflate is not divided, so it may be longer.
func spanAfter(off int64) int64 { return max(minSpan, off/minSpans) }

// A divider makes spans of the points that it is given, while the plain bytes go
// by. A point comes before the first byte after it does. All of them are hashed once:
// the sum of a span is that of all bytes up to its end.
type divider struct {
	spans  spans
	points []point   // those where no byte was seen yet
	off    int64     // of the next plain byte
	digest hash.Hash // of all plain bytes so far
}

func newDivider() *divider { return &divider{digest: sha256.New()} }

// add takes a point where a span begins, and its window with it.
func (d *divider) add(points ...point) { d.points = append(d.points, points...) }

// Write takes note of plain bytes.
func (d *divider) Write(b []byte) (int, error) {
	n := len(b)
	for len(d.points) > 0 && d.points[0].plain < d.off+int64(len(b)) {
		head := b[:d.points[0].plain-d.off]
		d.hash(head)
		b = b[len(head):]
		if err := d.begin(d.points[0]); err != nil {
			return 0, err
		}
		d.points = d.points[1:]
	}
	d.hash(b)
	return n, nil
}

func (d *divider) hash(b []byte) {
	_, _ = d.digest.Write(b)
	d.off += int64(len(b))
}

// begin ends a span and begins the next.
func (d *divider) begin(p point) error {
	d.finish(p.compressed)
	i := len(d.spans.list)
	if p.plain > 0 {
		d.spans.states.add(i, stateOf(d.digest))
	}
	if p.start == startBlock {
		window, err := encodeWindow(p.window)
		if err != nil {
			return err
		}
		d.spans.windows.add(i, window)
	}
	d.spans.list = append(d.spans.list, span{off: p.plain, from: p.compressed, start: p.start, bit: p.bit})
	return nil
}

// blockSlack is how far the inflater reads beyond the end of a block: it wants
// to see the ten bits that the next one has at least, and the byte that has the
// last bits of this one.
const blockSlack = 8

// finish ends the last span. The next begins at a compressed byte.
func (d *divider) finish(compressed int64) {
	if n := len(d.spans.list); n > 0 {
		d.spans.list[n-1].sum = sumOf(d.digest)
		d.spans.list[n-1].to = compressed
	}
}

// end returns the spans of a layer of so many compressed bytes.
func (d *divider) end(compressed int64) *spans {
	d.finish(compressed)
	d.spans.size = d.off
	for i := range d.spans.list {
		if s := &d.spans.list[i]; s.start == startMember || s.start == startBlock {
			s.to = min(s.to+blockSlack, compressed)
		}
	}
	return &d.spans
}
