package tree

import (
	"context"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry"
)

// contentFile is what all files have: an inode number that stands for their
// bytes, and the time at which these were first seen.
type contentFile struct {
	ino     uint64
	modTime time.Time
}

func (f contentFile) number() uint64 { return f.ino }

func (f contentFile) attr(size int64) Attr {
	return Attr{Mode: fileMode, Size: size, ModTime: f.modTime, Ino: f.ino, Lifetime: Forever}
}

// digestFile is a digest and a newline.
type digestFile struct {
	contentFile
	repo   *repository
	digest registry.Digest
}

var _ File = digestFile{}

func (f digestFile) content() []byte { return []byte(f.digest.String() + "\n") }

func (f digestFile) Attr(context.Context) (Attr, error) { return f.attr(int64(len(f.content()))), nil }

func (f digestFile) Open(context.Context) (OpenFile, error) { return OpenBytes(f.content()), nil }

// manifestFile is a manifest or index. It holds no bytes, since a kernel may hold
// on to any number of files.
type manifestFile struct {
	contentFile
	repo   *repository
	digest registry.Digest
	size   int64
}

var _ File = manifestFile{}

func (f manifestFile) Attr(context.Context) (Attr, error) { return f.attr(f.size), nil }

func (f manifestFile) Open(ctx context.Context) (OpenFile, error) {
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return nil, err
	}
	return OpenBytes(m.Bytes), nil
}

// documentFile is a small document that follows from a manifest.
type documentFile struct {
	contentFile
	repo    *repository
	digest  registry.Digest // of the manifest
	content []byte
}

var _ File = documentFile{}

func (f documentFile) Attr(context.Context) (Attr, error) { return f.attr(int64(len(f.content))), nil }

func (f documentFile) Open(context.Context) (OpenFile, error) { return OpenBytes(f.content), nil }

// OpenBytes is an open file whose bytes are in memory.
func OpenBytes(b []byte) OpenFile { return openBytes{readat.Bytes(b)} }

type openBytes struct{ readat.Reader }

func (openBytes) Close() error   { return nil }
func (openBytes) Verified() bool { return true }

// tarFile is image.tar. Describing it costs nothing; opening it starts no
// download. It holds no layout, for the same reason.
type tarFile struct {
	contentFile
	repo   *repository
	name   imagetar.Name
	digest registry.Digest
	size   int64
}

var _ File = tarFile{}

func (f tarFile) Attr(context.Context) (Attr, error) { return f.attr(f.size), nil }

func (f tarFile) Open(ctx context.Context) (OpenFile, error) {
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return nil, err
	}
	a, err := archive(f.repo.name(), f.name, m)
	if err != nil {
		return nil, err
	}
	open, err := f.repo.openArchive(ctx, a)
	if err != nil {
		return nil, err
	}
	return f.repo.guarded(ctx, open, f.digest)
}
