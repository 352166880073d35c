package tree

import (
	"context"
	"errors"
	"fmt"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry"
)

// ErrNotSaved is why an image has no docker-save.tar.
const ErrNotSaved absence = "docker would save another image"

// dockerSaveFile is docker-save.tar of an image. It holds digests and no layout, as
// tarFile does. How long it is may need one manifest more, that of the image's
// attestation, which is asked for when that is.
type dockerSaveFile struct {
	contentFile
	repo          *repository
	name          imagetar.Name
	index, digest registry.Digest // index is the zero Digest where there is none
}

var _ File = dockerSaveFile{}

// dockerSaveFile returns docker-save.tar of the resolved manifest, named as docker names
// it: not at all where the reference has a digest.
func (i *Image) dockerSaveFile(resolved cache.Manifest) dockerSaveFile {
	f := dockerSaveFile{repo: i.repo, index: i.in().Digest, digest: resolved.Digest}
	if !i.pinned {
		f.name = i.embedded()
	}
	f.contentFile = i.content(resolved, dockerSaveName, f.name.String()+" "+f.index.String())
	return f
}

func (f dockerSaveFile) Attr(ctx context.Context) (Attr, error) {
	key := archiveKey{f.repo.name(), f.name, f.digest, f.mark()}
	known, ok := f.repo.tree.sizes.Get(key)
	if !ok {
		a, err := f.layout(ctx)
		var answered *registry.Error
		if err != nil && (!isAbsent(err) || errors.As(err, &answered)) {
			return Attr{}, err // the next time the registry may have another answer
		}
		known.err = err
		if err == nil {
			known.size = a.Size()
		}
		f.repo.tree.sizes.Add(key, known)
	}
	return f.attr(known.size), known.err
}

// mark tells the sizes of these archives from those of others. The index decides as
// well, which no other archive follows from.
func (f dockerSaveFile) mark() string { return dockerSaveName + " " + f.index.String() }

// absent says whether it is known that there is none.
func (f dockerSaveFile) absent() error {
	known, _ := f.repo.tree.sizes.Get(archiveKey{f.repo.name(), f.name, f.digest, f.mark()})
	return known.err
}

// layout is what the archive is made of. The error is [ErrNotImage] or [ErrNotSaved]
// where there is none.
func (f dockerSaveFile) layout(ctx context.Context) (*imagetar.Archive, error) {
	fail := func(err error) (*imagetar.Archive, error) {
		return nil, fmt.Errorf("%s@%s: %w", f.repo.name(), f.digest, err)
	}
	resolved, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return nil, err
	}
	if err := imageOnly(resolved); err != nil {
		return fail(err)
	}
	pulled := imagetar.Pulled{
		Image:      imagetar.Image{Manifest: resolved.Bytes, MediaType: mediaType(resolved), Name: f.name},
		Repository: f.repo.name(),
	}
	if f.index != (registry.Digest{}) {
		index, err := f.repo.manifest(ctx, f.index)
		if err != nil {
			return nil, err
		}
		pulled.Index = index.Bytes
		d, ok, err := imagetar.AttestationOf(index.Bytes, f.digest)
		if err != nil {
			return fail(fmt.Errorf("%w: %w", ErrNotSaved, err))
		}
		if ok {
			attestation, err := f.repo.manifest(ctx, d.Digest)
			if isAbsent(err) {
				// Docker cannot pull the image then. Some copy an index with its images only.
				return fail(fmt.Errorf("%w: the index names an attestation, the registry does not have it: %w", ErrNotSaved, err))
			}
			if err != nil {
				return nil, err
			}
			pulled.Attestation = attestation.Bytes
		}
	}
	a, err := imagetar.DockerSave(pulled)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrNotSaved, err))
	}
	return a, nil
}

func (f dockerSaveFile) Open(ctx context.Context) (OpenFile, error) {
	a, err := f.layout(ctx)
	if err != nil {
		return nil, err
	}
	open, err := f.repo.openArchive(ctx, a)
	if err != nil {
		return nil, err
	}
	return f.repo.guarded(ctx, openDockerSave{open.Ahead, open}, f.digest)
}

// openDockerSave is an open docker-save.tar. Its blobs begin wherever the members in
// front of them end, so that no file system can share their blocks, and no kernel
// read it by itself: it is not [Backed].
type openDockerSave struct {
	*readat.Ahead
	archive *OpenArchive
}

var _ OpenFile = openDockerSave{}

func (o openDockerSave) Verified() bool { return o.archive.Verified() }
func (o openDockerSave) Close() error   { return o.archive.Close() }
