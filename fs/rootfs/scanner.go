package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxSparse is how long all sparse files of a layer may be together, in bytes
// with their holes: these are walked through to find where the data is.
const maxSparse = 64 << 30

// xattrRecord is what the PAX record of an extended attribute begins with.
const xattrRecord = "SCHILY.xattr."

// A Scanner reads a plain tar stream and yields its entries, with the offsets at
// which their bytes lie in it. Long names, base-256 numbers, PAX records and
// sparse files are understood in all their forms, as far as archive/tar does.
//
// It is for one goroutine.
type Scanner struct {
	plain  *position
	tar    *tar.Reader
	sparse int64 // bytes of sparse files so far
}

// NewScanner returns a Scanner of a stream that begins with the archive. It
// reads no further than the blocks of zeros that end the archive: what follows
// them, most often more zeros, is left in the stream. It reads headers by the
// block, so a file should be buffered.
func NewScanner(plain io.Reader) *Scanner {
	p := &position{from: plain}
	return &Scanner{plain: p, tar: tar.NewReader(p)}
}

// Scan reads all of an archive into a Table and hands each entry that cannot be
// shown to report, with the reason. Like a Scanner it leaves what follows the
// archive in the stream.
func Scan(plain io.Reader, report func(*EntryError)) (*Table, error) {
	var b TableBuilder
	for s := NewScanner(plain); ; {
		e, err := s.Next()
		if err == io.EOF { //nolint:errorlint // as Next says
			return b.Table(), nil
		}
		if err == nil {
			err = b.Add(e)
		}
		var hidden *EntryError
		if errors.As(err, &hidden) {
			report(hidden)
		} else if err != nil {
			return nil, err
		}
	}
}

// Next returns the next entry, and [io.EOF] after the last. An [EntryError] is
// about the entry that would have been next, and Next may be called again. Any
// other error ends the scan: the stream cannot be read, or is no archive.
func (s *Scanner) Next() (Entry, error) {
	for {
		h, err := s.tar.Next()
		if err != nil && (h == nil || !errors.Is(err, tar.ErrInsecurePath)) {
			if err == io.EOF { //nolint:errorlint // the end of the archive; what wraps it is an error
				return Entry{}, io.EOF
			}
			return Entry{}, fmt.Errorf("tar archive, byte %d: %w", s.plain.at, err)
		}
		// A global header holds nothing that an entry shows: no tool writes more than
		// a comment into it.
		if h.Typeflag != tar.TypeXGlobalHeader {
			return s.entry(h)
		}
	}
}

// entry makes an Entry of a header, at the point where its contents begin.
func (s *Scanner) entry(h *tar.Header) (Entry, error) {
	e := Entry{
		Name:    h.Name,
		Type:    h.Typeflag,
		Mode:    h.Mode & 0o7777,
		UID:     h.Uid,
		GID:     h.Gid,
		ModTime: h.ModTime,
		Xattrs:  xattrs(h.PAXRecords),
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Type, e.Size, e.Data = tar.TypeReg, h.Size, s.plain.at
		if isSparse(h) {
			if err := s.findExtents(&e); err != nil {
				return Entry{}, err
			}
		}
	case tar.TypeLink, tar.TypeSymlink:
		e.Linkname = h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		e.Devmajor, e.Devminor = h.Devmajor, h.Devminor
	}
	if reason := e.check(); reason != "" {
		return Entry{}, &EntryError{h.Name, reason}
	}
	return e, nil
}

// xattrs are the extended attributes among the records of a PAX header.
func xattrs(records map[string]string) []Xattr {
	var found []Xattr
	for key, value := range records {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			found = append(found, Xattr{name, value})
		}
	}
	return normalize(found)
}

// isSparse says whether the reader of archive/tar puts a file together from its
// data and its holes. One that does not is unharmed by being taken for sparse.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// findExtents finds where the data of a sparse file is.
//
// There are four formats for the map of a sparse file. archive/tar reads them
// all and tells none: it has the file with its holes. So the file is read
// with each byte of its data replaced by a one, and then what is zero is a hole.
func (s *Scanner) findExtents(e *Entry) error {
	if s.sparse+e.Size < 0 || s.sparse+e.Size > maxSparse {
		return &EntryError{e.Name, "the sparse files of the layer are too large"}
	}
	s.sparse += e.Size
	s.plain.marking = true
	defer func() { s.plain.marking = false }()

	e.Extents = []Extent{}
	buf := make([]byte, 256<<10)
	for off := int64(0); ; {
		n, err := s.tar.Read(buf)
		for run := buf[:n]; len(run) > 0; {
			data := run[0] == mark
			length := length(run, data)
			if data {
				e.addExtent(off, int64(length))
			}
			off += int64(length)
			run = run[length:]
		}
		if len(e.Extents) > MaxExtents {
			return &EntryError{e.Name, "too many holes"}
		}
		if err == io.EOF { //nolint:errorlint // the end of the file; what wraps it is an error
			break
		}
		if err != nil {
			return fmt.Errorf("tar archive, sparse file %q: %w", e.Name, err)
		}
	}
	if len(e.Extents) == 0 {
		e.Extents = append(e.Extents, Extent{})
	}
	if e.Extents[0] == (Extent{Offset: 0, Length: e.Size}) {
		e.Extents = nil // there are no holes
	}
	return nil
}

// addExtent adds a run of data, which may go on where the last one ended.
func (e *Entry) addExtent(off, length int64) {
	if n := len(e.Extents); n > 0 && e.Extents[n-1].Offset+e.Extents[n-1].Length == off {
		e.Extents[n-1].Length += length
		return
	}
	e.Extents = append(e.Extents, Extent{off, length})
}

// mark stands for a byte of data where only the place of it matters.
const mark = 1

// length is how long a run of marks is that buf begins with, or of holes.
func length(buf []byte, data bool) int {
	other := byte(0)
	if !data {
		other = mark
	}
	end := bytes.IndexByte(buf, other)
	if end < 0 {
		return len(buf)
	}
	return end
}

// A position counts the bytes that are read.
type position struct {
	from    io.Reader
	at      int64
	marking bool // what is handed out is marks, whatever was read
}

func (p *position) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.at += int64(n)
	if p.marking {
		for i := range b[:n] {
			b[i] = mark
		}
	}
	return n, err
}
