package tree

import (
	"context"
	"io"
	iofs "io/fs"
	"iter"
	"math"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// Forever is the lifetime of what can never change: names and attributes of
// content that is addressed by digest.
const Forever time.Duration = math.MaxInt64

// A Node is one thing that has a name in the tree: a [Dir], a [File] or a
// [Link], or a device or named pipe that is in an image. Nodes are immutable and may be used from several goroutines at once.
type Node interface {
	// Attr describes the node. It asks the registry only where the size or
	// the time cannot be known otherwise.
	Attr(ctx context.Context) (Attr, error)
}

// A Dir is a directory.
type Dir interface {
	Node
	// Lookup returns the node called name. A name that does not exist is an
	// error that is io/fs.ErrNotExist, and only a registry's "not found", the
	// grammar of names or a platform that is missing make one.
	Lookup(ctx context.Context, name string) (Child, error)
	// List yields the directory's entries, without "." and "..". After an
	// error it yields nothing more. Entries come as they become known: a
	// caller may stop early.
	List(ctx context.Context) iter.Seq2[Entry, error]
}

// A Versioned is a [Dir] of which the listing follows from its version: as long as
// that is the same, so is the listing.
type Versioned interface {
	Dir
	// Version is what it is now, if that is known without a request.
	Version() (version string, known bool)
}

// A File is a regular file.
type File interface {
	Node
	// Open returns the file's bytes; the caller closes it. What is opened
	// stays as it is, whatever becomes of the tag that led to it.
	Open(ctx context.Context) (OpenFile, error)
}

// A Link is a symbolic link.
type Link interface {
	Node
	// Target returns where the link leads, relative to the directory that it is in.
	// What is there may not exist. It never leads out of the tree, but for one that is
	// in an image: that has what the image says.
	Target(ctx context.Context) (string, error)
}

// An OpenFile is an open [File].
type OpenFile interface {
	readat.Reader
	io.Closer
	// Verified says that every byte that is read was checked against its
	// digest: only then may a page cache keep it.
	Verified() bool
}

// A Backed is an [OpenFile] that there may be a file of the same bytes for, which
// a kernel can read by itself.
type Backed interface {
	OpenFile
	// Intact says that there is one, as far as is known without making it.
	Intact() bool
	// Backing returns it, by whatever name or none; the caller closes it. It waits
	// for it as long as ctx does. The error is [cache.ErrNotCloned] where there can
	// be none after all.
	Backing(ctx context.Context) (BackingFile, error)
}

// A KeptFile is an OpenFile whose bytes may be on disk.
type KeptFile interface {
	// ReadKept fills p with the first bytes of the file where they are on disk and right,
	// and says whether. Nothing is asked for, and nobody is waited for. p is no longer
	// than the file.
	ReadKept(p []byte) bool
}

// A BackingFile is an open file of the operating system.
type BackingFile interface {
	io.Closer
	Fd() uintptr
}

// Attr is what stat(2) shows.
type Attr struct {
	Mode    iofs.FileMode // type and permission bits
	Size    int64         // bytes; 0 for a directory
	ModTime time.Time
	// Ino stands for content in a file, for the path in a directory. It is
	// never 0 or 1 and below 1<<63.
	Ino uint64
	// Lifetime is how long the attributes may be remembered.
	Lifetime time.Duration
	// Recorded is what the layers of an image say besides of what is in it; nil of
	// everything else. Then it was read from these, and never changes.
	Recorded *Recorded
}

// Recorded is what an archive records of a file.
type Recorded struct {
	UID, GID uint32
	// Links is how many names the file has; 1 of any directory.
	Links              uint32
	Devmajor, Devminor uint32 // of a device
	// Image tells images apart whose inode numbers meet: within one they never do, but
	// whoever makes an image can look for one that has a number of another.
	Image uint64
}

// What all nodes of a kind may be used for; others than the mounter are held to it.
const (
	dirMode  = iofs.ModeDir | 0o555
	fileMode = iofs.FileMode(0o444)
	linkMode = iofs.ModeSymlink | 0o777
)

// dirAttr describes a directory that never changes its kind.
func (t *Tree) dirAttr(path string) Attr {
	return Attr{Mode: dirMode, ModTime: t.started, Ino: pathIno(path), Lifetime: Forever}
}

// A Child is the answer to a Lookup.
type Child struct {
	Node Node
	// Lifetime is how long the name may be remembered to mean Node. Below a
	// tag it ends with what the tag was resolved to.
	Lifetime time.Duration
}

// An Entry is one line of a listing.
type Entry struct {
	Name string
	Mode iofs.FileMode // type bits only
	Ino  uint64        // that of the node which Lookup would return
}

// dirEntry is the listing's line for the directory at path.
func dirEntry(name, path string) Entry {
	return Entry{Name: name, Mode: iofs.ModeDir, Ino: pathIno(path)}
}
