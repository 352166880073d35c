package tree

import (
	"context"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// The files of an image directory.
const (
	manifestName         = "manifest.json"
	digestName           = "digest"
	resolvedManifestName = "resolved-manifest.json"
	resolvedDigestName   = "resolved-digest"
	tarName              = "image.tar"
)

// isImageFile says whether an image directory may hold a file of that name:
// any other costs no request.
func isImageFile(name string) bool {
	switch name {
	case manifestName, digestName, resolvedManifestName, resolvedDigestName, tarName:
		return true
	}
	return false
}

// contentFile is what all files have: an inode number that stands for their
// bytes, and the time at which these were first seen.
type contentFile struct {
	ino     uint64
	modTime time.Time
}

func (f contentFile) attr(size int64) Attr {
	return Attr{Mode: fileMode, Size: size, ModTime: f.modTime, Ino: f.ino, Lifetime: Forever}
}

// bytesFile is a file whose bytes are at hand.
type bytesFile struct {
	contentFile
	content []byte
}

var _ File = bytesFile{}

func (f bytesFile) Attr(context.Context) (Attr, error) { return f.attr(int64(len(f.content))), nil }

func (f bytesFile) Open(context.Context) (OpenFile, error) {
	return openBytes{readat.Bytes(f.content)}, nil
}

type openBytes struct{ readat.Reader }

func (openBytes) Close() error   { return nil }
func (openBytes) Verified() bool { return true }

// tarFile is image.tar. Describing it costs nothing; opening it starts no
// download.
type tarFile struct {
	contentFile
	repo    *repository
	archive *imagetar.Archive
}

var _ File = tarFile{}

func (f tarFile) Attr(context.Context) (Attr, error) { return f.attr(f.archive.Size()), nil }

func (f tarFile) Open(context.Context) (OpenFile, error) { return f.repo.openArchive(f.archive) }
