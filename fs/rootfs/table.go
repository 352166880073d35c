package rootfs

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// A Table is the entries of a layer, in the order of its archive, in a compact
// form: about ten bytes each and what is new in their names. It is immutable and
// safe for concurrent use.
//
// The form is, after [tableFormat] and the number of entries, one record for each
// (record.go). A record is told as a difference from the one before it, but
// for the first of each block: so an entry is found by reading no more than a
// block.
type Table struct {
	encoded []byte
	n       int
	blocks  []uint32 // where in encoded each block begins
}

const (
	// tableFormat is the first byte of an encoded table. Another one is a form that
	// is not known here.
	tableFormat = 1
	// blockEntries is how many entries are read to find one. Twice as many would
	// save less than half a byte for each.
	blockEntries = 16
)

// Len is the number of entries.
func (t *Table) Len() int { return t.n }

// Bytes is the table as [ParseTable] reads it. It must not be changed.
func (t *Table) Bytes() []byte { return t.encoded }

// Entry returns entry i, which counts from 0. The reading of it takes about a
// microsecond.
func (t *Table) Entry(i int) Entry {
	c := t.cursor(i)
	c.next()
	return c.entry()
}

// All yields the entries in the order of the archive.
func (t *Table) All() iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for c := t.cursor(0); c.next(); {
			if !yield(c.i, c.entry()) {
				return
			}
		}
	}
}

// cursor returns a cursor whose next entry is i.
func (t *Table) cursor(i int) *cursor {
	if i < 0 || i > t.n {
		panic(fmt.Sprintf("entry %d of a table of %d", i, t.n))
	}
	c := &cursor{encoded: t.encoded, n: t.n, i: i - 1, at: len(t.encoded)}
	if i < t.n {
		block := i / blockEntries
		c.i, c.at = block*blockEntries-1, int(t.blocks[block])
		for c.i < i-1 {
			c.next()
		}
	}
	return c
}

// ParseTable reads a table that [Table.Bytes] has given, and keeps b, which must
// not change afterwards. What no builder can have made is an error: of a table
// without one, every entry can be read and keeps to the limits.
func ParseTable(b []byte) (*Table, error) {
	if len(b) > MaxTable {
		return nil, ErrTooLarge
	}
	if len(b) == 0 || b[0] != tableFormat {
		return nil, fmt.Errorf("%w: its table is none", ErrDamaged)
	}
	n, length := binary.Uvarint(b[1:])
	// A record has three bytes at least.
	if length <= 0 || n > MaxEntries || n > uint64(len(b)/3) {
		return nil, fmt.Errorf("%w: its table cannot be", ErrDamaged)
	}
	t := &Table{encoded: b, n: int(n), blocks: make([]uint32, 0, (n+blockEntries-1)/blockEntries)}
	c := &cursor{encoded: b, n: t.n, i: -1, at: 1 + length}
	for i := range t.n {
		if i%blockEntries == 0 {
			t.blocks = append(t.blocks, uint32(c.at))
		}
		if !c.next() {
			return nil, fmt.Errorf("%w: its table is cut", ErrDamaged)
		}
		if reason := c.check(); reason != "" {
			return nil, fmt.Errorf("%w: its table: entry %d: %s", ErrDamaged, i, reason)
		}
	}
	if c.at != len(b) {
		return nil, fmt.Errorf("%w: its table cannot be", ErrDamaged)
	}
	return t, nil
}

// A TableBuilder collects the entries of a layer. The zero value is an empty
// one. It is for one goroutine.
type TableBuilder struct {
	records []byte
	n       int
	blocks  []uint32 // where in records each block begins
	last    state
}

// Add appends an entry. An [EntryError] is about this entry alone, which is left
// out; any other error means that the layer passes a limit.
func (b *TableBuilder) Add(e Entry) error {
	e.Mode &= 0o7777
	e.Xattrs = normalize(e.Xattrs)
	if reason := e.check(); reason != "" {
		return &EntryError{e.Name, reason}
	}
	if b.n == MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrTooLarge, MaxEntries)
	}
	if len(b.records)+e.weight() > MaxTable {
		return fmt.Errorf("%w: names and attributes of more than %d bytes", ErrTooLarge, MaxTable)
	}
	if b.n%blockEntries == 0 {
		b.blocks = append(b.blocks, uint32(len(b.records)))
		b.last.reset()
	}
	b.records = b.last.append(b.records, &e)
	b.n++
	return nil
}

// weight is more than an entry can take in a table.
func (e *Entry) weight() int {
	weight := 256 + len(e.Name) + len(e.Linkname) + 20*len(e.Extents)
	for _, x := range e.Xattrs {
		weight += 8 + len(x.Name) + len(x.Value)
	}
	return weight
}

// Table returns what was added so far. The builder is not to be used any more.
func (b *TableBuilder) Table() *Table {
	head := binary.AppendUvarint([]byte{tableFormat}, uint64(b.n))
	t := &Table{encoded: make([]byte, 0, len(head)+len(b.records)), n: b.n, blocks: b.blocks}
	t.encoded = append(append(t.encoded, head...), b.records...)
	for i := range t.blocks {
		t.blocks[i] += uint32(len(head))
	}
	return t
}
