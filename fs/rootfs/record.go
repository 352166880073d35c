package rootfs

import (
	"archive/tar"
	"encoding/binary"
	"slices"
	"time"
)

// A record begins with a byte: the entry's type, as the digit that it is in a
// tar header, and what else is as in the entry before it or follows.
const (
	typeBits  = 0x07
	sameMode  = 0x08 // as of the last entry of the same type
	sameOwner = 0x10
	sameTime  = 0x20 // by the second
	hasNanos  = 0x40 // a fraction of a second
	hasMore   = 0x80 // extended attributes or extents
)

// tarBlock is the unit of a tar archive, in bytes.
const tarBlock = 512

// state is what a record is told as a difference from: the entry before it.
type state struct {
	name     []byte
	modes    [typeBits + 1]int64 // by type
	uid, gid int64
	seconds  int64
	end      int64 // of what is known of the archive, in bytes from its beginning
}

// reset makes the state that of the first record of a block.
func (s *state) reset() {
	*s = state{name: s.name[:0]}
	s.modes[tar.TypeReg-'0'], s.modes[tar.TypeDir-'0'], s.modes[tar.TypeSymlink-'0'] = 0o644, 0o755, 0o777
	s.modes[tar.TypeLink-'0'] = 0o644
}

// pass moves the end behind an entry: its header, most often of one block, and
// its contents. So where the contents of the next one begin is most often known.
func (s *state) pass(kind byte, data, stored int64) {
	if kind == tar.TypeReg {
		s.end = (data + stored + tarBlock - 1) &^ (tarBlock - 1)
	} else {
		s.end += tarBlock
	}
}

// append appends the record of an entry, which has been checked.
func (s *state) append(b []byte, e *Entry) []byte {
	seconds, nanos := e.ModTime.Unix(), e.ModTime.Nanosecond()
	flags := e.Type - '0'
	mode := &s.modes[flags]
	if e.Mode == *mode {
		flags |= sameMode
	}
	if int64(e.UID) == s.uid && int64(e.GID) == s.gid {
		flags |= sameOwner
	}
	if seconds == s.seconds {
		flags |= sameTime
	}
	if nanos != 0 {
		flags |= hasNanos
	}
	if len(e.Xattrs) > 0 || e.Type == tar.TypeReg && len(e.Extents) > 0 {
		flags |= hasMore
	}
	b = append(b, flags)
	b = appendName(b, s.name, e.Name)
	if flags&sameMode == 0 {
		b = binary.AppendUvarint(b, uint64(e.Mode))
	}
	if flags&sameOwner == 0 {
		b = binary.AppendVarint(binary.AppendVarint(b, int64(e.UID)), int64(e.GID))
	}
	if flags&sameTime == 0 {
		b = binary.AppendVarint(b, seconds-s.seconds)
	}
	if nanos != 0 {
		b = binary.AppendUvarint(b, uint64(nanos))
	}
	switch e.Type {
	case tar.TypeReg:
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = binary.AppendVarint(b, e.Data-(s.end+tarBlock))
	case tar.TypeLink, tar.TypeSymlink:
		b = appendName(b, []byte(e.Name), e.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(e.Devmajor)), uint64(e.Devminor))
	}
	if flags&hasMore != 0 {
		b = appendMore(b, e)
	}
	s.name = append(s.name[:0], e.Name...)
	*mode, s.uid, s.gid, s.seconds = e.Mode, int64(e.UID), int64(e.GID), seconds
	s.pass(e.Type, e.Data, e.Stored())
	return b
}

// appendName appends a name: how many bytes it begins with another with, and the
// rest of it.
func appendName(b, before []byte, name string) []byte {
	same := 0
	for same < len(before) && same < len(name) && before[same] == name[same] {
		same++
	}
	b = binary.AppendUvarint(b, uint64(same))
	b = binary.AppendUvarint(b, uint64(len(name)-same))
	return append(b, name[same:]...)
}

// appendMore appends what few entries have.
func appendMore(b []byte, e *Entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
	for _, x := range e.Xattrs {
		b = append(binary.AppendUvarint(b, uint64(len(x.Name))), x.Name...)
		b = append(binary.AppendUvarint(b, uint64(len(x.Value))), x.Value...)
	}
	if e.Type != tar.TypeReg {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(e.Extents)))
	end := int64(0)
	for _, x := range e.Extents {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(x.Offset-end)), uint64(x.Length))
		end = x.Offset + x.Length
	}
	return b
}

// A cursor reads the records of a table one after the other. What it has read
// last is in its fields, without a copy for each entry; entry makes one.
type cursor struct {
	encoded []byte
	n       int // records in all
	at      int // where the next record begins
	i       int // the number of the record that was read last, or -1
	bad     bool

	state
	kind         byte // typeflag
	mode         int64
	nanos        int64
	size, data   int64
	major, minor int64
	target       []byte // valid until the next record is read, as name is
	xattrs       []Xattr
	extents      []Extent
}

// next reads the next record. It is false after the last, and where the table is
// damaged.
func (c *cursor) next() bool {
	if c.bad || c.i+1 >= c.n {
		return false
	}
	c.i++
	if c.i%blockEntries == 0 {
		c.reset()
	}
	if c.at >= len(c.encoded) {
		c.bad = true
		return false
	}
	flags := c.encoded[c.at]
	c.at++
	c.kind = '0' + flags&typeBits
	c.size, c.data, c.major, c.minor, c.nanos = 0, 0, 0, 0, 0
	c.target, c.xattrs, c.extents = c.target[:0], nil, nil
	c.name = c.readName(c.name, c.name)
	if flags&sameMode == 0 {
		c.modes[flags&typeBits] = int64(c.uvarint() & 0o7777)
	}
	c.mode = c.modes[flags&typeBits]
	if flags&sameOwner == 0 {
		c.uid, c.gid = c.varint(), c.varint()
	}
	if flags&sameTime == 0 {
		c.seconds += c.varint()
	}
	if flags&hasNanos != 0 {
		c.nanos = int64(c.uvarint() % uint64(time.Second))
	}
	switch c.kind {
	case tar.TypeReg:
		c.size = int64(c.uvarint())
		c.data = c.end + tarBlock + c.varint()
	case tar.TypeLink, tar.TypeSymlink:
		c.target = c.readName(c.target, c.name)
	case tar.TypeChar, tar.TypeBlock:
		c.major, c.minor = int64(c.uvarint()), int64(c.uvarint())
	}
	stored := c.size
	if flags&hasMore != 0 {
		stored = c.readMore(stored)
	}
	c.pass(c.kind, c.data, stored)
	return !c.bad
}

// readMore reads what appendMore has written, and returns how many bytes the
// entry's contents take, which are stored if it has no holes.
func (c *cursor) readMore(stored int64) int64 {
	n := c.count(2)
	if n > maxXattrNames/2 {
		c.bad = true
		return 0
	}
	for range n {
		name := string(c.bytes())
		c.xattrs = append(c.xattrs, Xattr{name, string(c.bytes())})
	}
	if c.kind != tar.TypeReg {
		return 0
	}
	n = c.count(2)
	if n == 0 {
		return stored
	}
	if n > MaxExtents {
		c.bad = true
		return 0
	}
	c.extents = make([]Extent, 0, n)
	stored = 0
	end := int64(0)
	for range n {
		x := Extent{Offset: end + int64(c.uvarint()), Length: int64(c.uvarint())}
		c.extents = append(c.extents, x)
		stored += x.Length
		end = x.Offset + x.Length
	}
	return stored
}

// uvarint reads a number.
func (c *cursor) uvarint() uint64 {
	// Most are of one byte.
	if c.at < len(c.encoded) && c.encoded[c.at] < 0x80 {
		c.at++
		return uint64(c.encoded[c.at-1])
	}
	v, n := binary.Uvarint(c.encoded[c.at:])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.at += n
	return v
}

func (c *cursor) varint() int64 {
	v := c.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// count reads how many things follow that take so many bytes each, or more.
func (c *cursor) count(least int) int {
	n := c.uvarint()
	if n > uint64((len(c.encoded)-c.at)/least) {
		c.bad = true
		return 0
	}
	return int(n)
}

// bytes reads a string of bytes with its length before it.
func (c *cursor) bytes() []byte {
	n := c.count(1)
	c.at += n
	return c.encoded[c.at-n : c.at]
}

// readName reads a name into buf, which may be what the name is told as a
// difference from.
func (c *cursor) readName(buf, before []byte) []byte {
	same := c.uvarint()
	if same > uint64(len(before)) {
		c.bad = true
		same = 0
	}
	rest := c.bytes()
	if same+uint64(len(rest)) > MaxName {
		c.bad = true
		return buf[:0]
	}
	return append(append(buf[:0], before[:same]...), rest...)
}

// check says what is wrong with the entry that was read last.
func (c *cursor) check() string {
	if c.kind > tar.TypeFifo {
		return "unknown type"
	}
	reason := checkName(c.name)
	if reason == "" {
		reason = checkTarget(c.target)
	}
	if reason == "" {
		reason = checkNumbers(c.size, c.data, c.major, c.minor)
	}
	if reason == "" && (c.xattrs != nil || c.extents != nil) {
		e := c.entry()
		reason = e.check()
		if !slices.Equal(normalize(e.Xattrs), e.Xattrs) {
			reason = "extended attributes out of order"
		}
	}
	return reason
}

// entry copies the entry that was read last.
func (c *cursor) entry() Entry {
	return Entry{
		Name:     string(c.name),
		Linkname: string(c.target),
		Type:     c.kind,
		Mode:     c.mode,
		UID:      int(c.uid),
		GID:      int(c.gid),
		ModTime:  time.Unix(c.seconds, c.nanos),
		Devmajor: c.major,
		Devminor: c.minor,
		Size:     c.size,
		Xattrs:   c.xattrs,
		Data:     c.data,
		Extents:  c.extents,
	}
}
