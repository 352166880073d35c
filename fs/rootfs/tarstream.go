package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// WriteTar writes all of the file system as one archive, as POSIX has them (pax): what
// tar makes of the root directory, with names that have nothing before them. plain
// returns the plain bytes of a layer; it is called once for each that has any.
//
// The archive follows from the layers alone: a directory is before what is in it, and
// the names in a directory are in the order of their bytes, which is the order of most
// layers too, so that each is read nearly from its beginning to its end. The first name
// of a file has its bytes, and further ones are hard links to that. Extended attributes
// are SCHILY.xattr records, sparse files are written out whole, owners are numbers. The
// root has no entry, since no layer says what it is like.
//
// report, which may be nil, is told of what an archive cannot hold and is left out:
// an attribute with a "=" in its name, a device with a number that Linux does not have.
//
// Errors are those of w, of plain's readers, and the cause of ctx.
func (f *Filesystem) WriteTar(ctx context.Context, w io.Writer, plain func(layer int) readat.Reader, report func(*EntryError)) error {
	s := newTarStream(f, w, report)
	layers := map[int]readat.Reader{}
	buf := make([]byte, tarPiece)
	s.contents = func(n Node) error {
		layer, e, _ := f.Contents(n)
		from, known := layers[layer]
		if !known && e.Size > 0 {
			from = plain(layer)
			layers[layer] = from
		}
		return copyContents(ctx, s.tar, e.Contents(from), buf)
	}
	return s.write(ctx)
}

// tarPiece is how many bytes of a file are read at once.
const tarPiece = 1 << 20

// TarSize is how many bytes WriteTar writes. It costs a look at each entry, and none of
// the plain bytes. The error is the cause of ctx.
func (f *Filesystem) TarSize(ctx context.Context) (int64, error) {
	var counted tarCounter
	s := newTarStream(f, &counted, nil)
	s.contents = func(n Node) error {
		// Nothing of it is written, and the next header does not mind: it has a writer
		// of its own.
		counted.add((f.Attr(n).Size + tarBlock - 1) / tarBlock * tarBlock)
		s.tar = tar.NewWriter(&counted)
		return nil
	}
	err := s.write(ctx)
	return int64(counted), err
}

// A tarCounter counts the bytes that are written to it.
type tarCounter int64

func (c *tarCounter) Write(p []byte) (int, error) {
	c.add(int64(len(p)))
	return len(p), nil
}

// add adds no further than to the largest number: a hole can be of any size.
func (c *tarCounter) add(n int64) {
	if n < 0 || int64(*c)+n < 0 {
		*c = math.MaxInt64
		return
	}
	*c += tarCounter(n)
}

// A tarStream is one archive that is being written.
type tarStream struct {
	fs       *Filesystem
	tar      *tar.Writer
	contents func(Node) error  // writes those of a regular file
	names    map[uint64]string // the first of each file that has several, by Ino
	report   func(*EntryError)
}

func newTarStream(f *Filesystem, w io.Writer, report func(*EntryError)) *tarStream {
	if report == nil {
		report = func(*EntryError) {}
	}
	return &tarStream{fs: f, tar: tar.NewWriter(w), names: map[uint64]string{}, report: report}
}

func (s *tarStream) write(ctx context.Context) error {
	if err := s.directory(ctx, "", s.fs.Root()); err != nil {
		return err
	}
	return s.tar.Close()
}

// directory writes what is in one. prefix is its name with a slash behind it. It goes no
// deeper than [MaxDepth].
func (s *tarStream) directory(ctx context.Context, prefix string, dir Node) error {
	for _, c := range s.fs.Children(dir) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := prefix + c.Name
		if !c.Node.IsDir() {
			if err := s.entry(name, c.Node); err != nil {
				return err
			}
			continue
		}
		name += "/"
		if err := s.entry(name, c.Node); err != nil {
			return err
		}
		if err := s.directory(ctx, name, c.Node); err != nil {
			return err
		}
	}
	return nil
}

// entry writes the header of a node, and what is in it.
func (s *tarStream) entry(name string, n Node) error {
	a := s.fs.Attr(n)
	h := &tar.Header{
		Name: name, Typeflag: a.Type, Mode: int64(a.Mode), Uid: int(a.UID), Gid: int(a.GID), ModTime: a.ModTime,
		Format: tar.FormatPAX,
	}
	switch a.Type {
	case tar.TypeReg:
		h.Size = a.Size
	case tar.TypeSymlink:
		h.Linkname = a.Target
	case tar.TypeChar, tar.TypeBlock:
		if a.Devmajor > maxTarDevice || a.Devminor > maxTarDevice {
			s.report(&EntryError{name, fmt.Sprintf("device %d:%d: an archive has no such number, and neither has Linux", a.Devmajor, a.Devminor)})
			return nil
		}
		h.Devmajor, h.Devminor = int64(a.Devmajor), int64(a.Devminor)
	}
	if a.Type != tar.TypeDir && a.Links > 1 {
		ino := s.fs.Ino(n)
		if first, ok := s.names[ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			s.names[ino] = name
		}
	}
	if h.Typeflag != tar.TypeLink { // the first name has said it
		h.PAXRecords = s.xattrs(name, a.Xattrs)
	}
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname) {
		// Names are bytes; whoever knows this record does not take them for UTF-8.
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["hdrcharset"] = "BINARY"
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write the header of %q: %w", name, err)
	}
	if h.Typeflag == tar.TypeReg && h.Size > 0 {
		if err := s.contents(n); err != nil {
			return fmt.Errorf("write %q: %w", name, err)
		}
	}
	return nil
}

// maxTarDevice is the largest number of a device that a header's seven digits hold. Linux
// has 12 and 20 bits.
const maxTarDevice = 1<<21 - 1

// xattrs are the records of extended attributes.
func (s *tarStream) xattrs(name string, xattrs []Xattr) map[string]string {
	if len(xattrs) == 0 {
		return nil
	}
	records := make(map[string]string, len(xattrs)+1)
	for _, x := range xattrs {
		if strings.ContainsRune(x.Name, '=') {
			s.report(&EntryError{name, fmt.Sprintf("attribute %q: no archive holds a name with a =", x.Name)})
			continue
		}
		records[xattrRecord+x.Name] = x.Value
	}
	return records
}

// copyContents copies all of a file.
func copyContents(ctx context.Context, w io.Writer, from readat.Reader, buf []byte) error {
	for off := int64(0); off < from.Size(); {
		n, err := from.ReadAt(ctx, buf[:min(int64(len(buf)), from.Size()-off)], off)
		if n == 0 {
			return noEOF(err)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
