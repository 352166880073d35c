// Package rootfs is the merged file system of an image, from the tar archives
// that its layers are.
//
// A layer is read once. A [Scanner] takes its entries out of the plain tar
// stream, and a [Table] keeps them in a few bytes each, with the offsets of what
// they hold: from then on the layer can be listed and its files can be read by
// offset. A [LayerTree] is what the entries come to in an empty directory, with
// the whiteouts in it. A [Stack] lays the trees of an image over each other and
// shows what overlayfs would, as soon as those layers are there that decide
// it; with all of them it is a [Filesystem].
//
// What is kept of a layer is an [Index]. [Pass] makes it while the layer streams by,
// compressed in whichever way: with it, a [PlainReader] has any of the plain bytes
// out of one range of the compressed ones. [OpenTOC] makes it of the table of
// contents that some layers bring, without reading the rest.
//
// The rules are those of the image specification (layer.md), and where that is
// silent what containerd and overlayfs do: the tests compare with both. All that
// is read here is hostile: the number of entries, their names, depth and
// attributes have limits, and what one entry has wrong hides that entry alone.
package rootfs

import (
	"archive/tar"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits of a layer. No honest image comes near them; they bound what a hostile
// one can make a reader keep.
const (
	// MaxEntries is how many entries a layer may have.
	MaxEntries = 5_000_000
	// MaxName is the length in bytes of an entry's name and of a link's target:
	// PATH_MAX of Linux.
	MaxName = 4096
	// MaxDepth is how many components a name may have, and how deep a tree is.
	MaxDepth = 1024
	// MaxXattr and MaxXattrs are the length in bytes of an extended attribute's
	// value, as in Linux, and of all names and values of one entry.
	MaxXattr  = 64 << 10
	MaxXattrs = 1 << 20
	// MaxExtents is how many runs of data a sparse file may have.
	MaxExtents = 1 << 16
	// MaxTable is the length in bytes of a table.
	MaxTable = 256 << 20
)

// What Linux allows the name of an extended attribute, and all names of one file,
// each with the NUL that ends it.
const (
	maxXattrName  = 255
	maxXattrNames = 64 << 10
)

// An Entry is one entry of a layer's archive, as it stands there: names and
// targets are bytes, neither cleaned nor decoded.
type Entry struct {
	Name     string
	Linkname string // of a symbolic link its target, of a hard link the name of another entry
	// Type is a typeflag of archive/tar: TypeReg, TypeLink, TypeSymlink, TypeChar,
	// TypeBlock, TypeDir or TypeFifo. Those that amount to one of these have been
	// replaced by it.
	Type               byte
	Mode               int64 // permission bits, set-uid, set-gid and sticky
	UID, GID           int
	ModTime            time.Time
	Devmajor, Devminor int64 // of devices
	// Size is the length in bytes of a regular file, with its holes.
	Size   int64
	Xattrs []Xattr // sorted by name, each name once
	// Data is where the bytes of a regular file begin, in the plain stream or
	// wherever else the layer's index says that they are. They lie in one piece;
	// those of a sparse file are its Extents, one after the other.
	Data int64
	// Extents are the runs of data of a sparse file, in order; what is between
	// them and behind them is a hole, which reads as zeros. A file that is not
	// sparse has none, and one that is nothing but a hole has a single empty one.
	Extents []Extent
}

// An Xattr is an extended attribute. Its name has the name space in front
// ("security.capability").
type Xattr struct{ Name, Value string }

// An Extent is a run of data in a sparse file: Length bytes at Offset.
type Extent struct{ Offset, Length int64 }

// Stored is how many bytes of the layer the entry's contents take: its Size, or
// less where it is sparse.
func (e *Entry) Stored() int64 {
	if e.Type != tar.TypeReg {
		return 0
	}
	if e.Extents == nil {
		return e.Size
	}
	stored := int64(0)
	for _, x := range e.Extents {
		stored += x.Length
	}
	return stored
}

// An EntryError says why one entry of a layer is not shown, or not as it stands.
// The others are not touched by it.
type EntryError struct {
	Name   string // of the entry, as it stands in the archive
	Reason string
}

func (e *EntryError) Error() string {
	name := e.Name
	if len(name) > 256 {
		name = name[:256] + "…"
	}
	return fmt.Sprintf("entry %q: %s", name, e.Reason)
}

// hiddenXattrs are those of overlayfs itself: a rootfs that lies below an
// overlay must not tell it what to do.
const hiddenXattrs = "trusted.overlay."

// normalize sorts the attributes and drops those that are never shown. Of two
// with one name the last counts.
func normalize(xattrs []Xattr) []Xattr {
	sorted := true
	for i, x := range xattrs {
		if strings.HasPrefix(x.Name, hiddenXattrs) || i > 0 && xattrs[i-1].Name >= x.Name {
			sorted = false
		}
	}
	if sorted {
		return xattrs
	}
	kept := make([]Xattr, 0, len(xattrs))
	for _, x := range xattrs {
		if !strings.HasPrefix(x.Name, hiddenXattrs) {
			kept = append(kept, x)
		}
	}
	slices.SortStableFunc(kept, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	last := kept[:0]
	for i, x := range kept {
		if i+1 < len(kept) && kept[i+1].Name == x.Name {
			continue
		}
		last = append(last, x)
	}
	return last
}

// check says what is wrong with an entry, in the words of an EntryError's
// Reason; nothing is "".
func (e *Entry) check() string {
	switch e.Type {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
	default:
		return fmt.Sprintf("unknown type %q", e.Type)
	}
	reason := checkName(e.Name)
	if reason == "" {
		reason = checkTarget(e.Linkname)
	}
	if reason == "" {
		reason = checkNumbers(e.Size, e.Data, e.Devmajor, e.Devminor)
	}
	if reason != "" {
		return reason
	}
	if reason := checkXattrs(e.Xattrs); reason != "" {
		return reason
	}
	return e.checkExtents()
}

// checkName is check for the name of an entry.
func checkName[T string | []byte](name T) string {
	if len(name) > MaxName {
		return "the name is too long"
	}
	depth := 0
	for i := range len(name) {
		switch {
		case name[i] == 0:
			return "a name with a NUL"
		case name[i] != '/' && (i == 0 || name[i-1] == '/'):
			depth++
		}
	}
	if depth > MaxDepth {
		return "too many directories in the name"
	}
	return ""
}

// checkTarget is check for the target of a link: with the NUL that ends it, it is no longer
// than PATH_MAX.
func checkTarget[T string | []byte](target T) string {
	if len(target) >= MaxName {
		return "the target is too long"
	}
	for i := range len(target) {
		if target[i] == 0 {
			return "a target with a NUL"
		}
	}
	return ""
}

// checkNumbers is check for what may be of any value in an archive.
func checkNumbers(size, data, major, minor int64) string {
	switch {
	case size < 0 || data < 0 || data+size < 0:
		return "size or offset out of range"
	case uint64(major) > math.MaxUint32 || uint64(minor) > math.MaxUint32:
		return "device number out of range"
	}
	return ""
}

func checkXattrs(xattrs []Xattr) string {
	names, total := 0, 0
	for _, x := range xattrs {
		names += len(x.Name) + 1
		total += len(x.Name) + len(x.Value)
		switch {
		case x.Name == "" || len(x.Name) > maxXattrName || strings.IndexByte(x.Name, 0) >= 0:
			return "an extended attribute has an impossible name"
		case len(x.Value) > MaxXattr || total > MaxXattrs || names > maxXattrNames:
			return "the extended attributes are too large"
		}
	}
	return ""
}

func (e *Entry) checkExtents() string {
	if len(e.Extents) > MaxExtents {
		return "too many holes"
	}
	end := int64(0)
	for _, x := range e.Extents {
		if x.Offset < end || x.Length < 0 || x.Offset > e.Size || x.Length > e.Size-x.Offset {
			return "its holes overlap, or pass its end"
		}
		end = x.Offset + x.Length
	}
	return ""
}
