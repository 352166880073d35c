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

// dockerSaveName is the file in an image directory that is what docker save writes.
const dockerSaveName = "docker-save.tar"

// ErrNotSaved is why an image has no docker-save.tar.
const ErrNotSaved absence = "docker would save another image"

// dockerSaveFile returns docker-save.tar of the image that resolved is the manifest
// of: found in index, which is the zero Manifest where it was in none, and named as
// docker names it, which is not at all where the reference has a digest. It costs the
// manifest of the image's attestation, where there is one, and no blob. The error is
// [ErrNotImage] or [ErrNotSaved] where there is no such archive.
func (r *repository) dockerSaveFile(ctx context.Context, index, resolved cache.Manifest, name imagetar.Name) (Node, error) {
	f := dockerSaveFile{repo: r, name: name, index: index.Digest, digest: resolved.Digest}
	// The index decides as well, which no other archive has in its key.
	key := archiveKey{r.name(), name, resolved.Digest, dockerSaveName + " " + index.Digest.String()}
	known, ok := r.tree.sizes.Get(key)
	if !ok {
		a, err := r.dockerSave(ctx, index, resolved, name)
		var answered *registry.Error
		if err != nil && (!isAbsent(err) || errors.As(err, &answered)) {
			return nil, err // the next time the registry may have another answer
		}
		known.err = err
		if err == nil {
			known.size = a.Size()
		}
		r.tree.sizes.Add(key, known)
	}
	if known.err != nil {
		return nil, known.err
	}
	f.contentFile = contentFile{
		contentIno(r.name(), resolved.Digest.String(), dockerSaveName, name.String()+" "+index.Digest.String()), resolved.FirstSeen,
	}
	f.size = known.size
	return f, nil
}

// dockerSave is the layout of docker-save.tar.
func (r *repository) dockerSave(ctx context.Context, index, resolved cache.Manifest, name imagetar.Name) (*imagetar.Archive, error) {
	fail := func(err error) (*imagetar.Archive, error) {
		return nil, fmt.Errorf("%s@%s: %w", r.name(), resolved.Digest, err)
	}
	if err := imageOnly(resolved); err != nil {
		return fail(err)
	}
	pulled := imagetar.Pulled{
		Image:      imagetar.Image{Manifest: resolved.Bytes, MediaType: mediaType(resolved), Name: name},
		Repository: r.name(),
	}
	if index.Digest != (registry.Digest{}) {
		pulled.Index = index.Bytes
		d, ok, err := imagetar.AttestationOf(index.Bytes, resolved.Digest)
		if err != nil {
			return fail(fmt.Errorf("%w: %w", ErrNotSaved, err))
		}
		if ok {
			attestation, err := r.manifest(ctx, d.Digest)
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

// dockerSaveFile is docker-save.tar. It holds digests and no layout, as tarFile does.
type dockerSaveFile struct {
	contentFile
	repo          *repository
	name          imagetar.Name
	index, digest registry.Digest // index is the zero Digest where there is none
	size          int64
}

var _ File = dockerSaveFile{}

func (f dockerSaveFile) Attr(context.Context) (Attr, error) { return f.attr(f.size), nil }

func (f dockerSaveFile) Open(ctx context.Context) (OpenFile, error) {
	resolved, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return nil, err
	}
	var index cache.Manifest
	if f.index != (registry.Digest{}) {
		if index, err = f.repo.manifest(ctx, f.index); err != nil {
			return nil, err
		}
	}
	a, err := f.repo.dockerSave(ctx, index, resolved, f.name)
	if err != nil {
		return nil, err
	}
	open, err := f.repo.openArchive(ctx, a)
	if err != nil {
		return nil, err
	}
	if !open.Verified() && f.repo.tree.pacer.shuts(ctx) {
		return nil, errors.Join(fmt.Errorf("open %s@%s: %w", f.repo.name(), f.digest, ErrCrawler), open.Close())
	}
	return openDockerSave{open.Ahead, open}, nil
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
