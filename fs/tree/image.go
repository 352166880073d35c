package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/registry"
)

// An Image is what a reference stands for: an image, an index of images or an
// artifact, by the digest that it had when it was resolved. It is immutable and
// safe for concurrent use.
type Image struct {
	repo     *repository
	tag      string // names the image in its archive; "" where it has no name
	manifest cache.Manifest
}

// Manifest is the referenced manifest or index.
func (i *Image) Manifest() cache.Manifest { return i.manifest }

// Resolved is the manifest for the tree's platform, the referenced one where
// that is no index. The error is [ErrNoPlatform] where the index has none.
func (i *Image) Resolved(ctx context.Context) (cache.Manifest, error) {
	return i.repo.forPlatform(ctx, i.manifest)
}

// Repository is where the image came from.
func (i *Image) Repository() *registry.Repository { return i.repo.remote }

// Archive is the layout of image.tar; it costs no blob. The error is
// [ErrNotImage] for an artifact, and for an image that no archive can hold.
func (i *Image) Archive(ctx context.Context) (*imagetar.Archive, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	return i.archive(resolved)
}

func (i *Image) archive(resolved cache.Manifest) (*imagetar.Archive, error) {
	return archive(i.repo.name(), i.embedded(), resolved)
}

// ManifestOf is a manifest as it came from a registry, seen at no time.
func ManifestOf(raw *registry.RawManifest) cache.Manifest {
	return cache.Manifest{Digest: raw.Descriptor.Digest, MediaType: string(raw.Descriptor.MediaType), Bytes: raw.Bytes}
}

// ArchiveOf is the layout of image.tar for a manifest that was fetched without a
// tree, as ref names it. The errors are those of [Image.Archive].
func ArchiveOf(ref registry.Reference, resolved cache.Manifest) (*imagetar.Archive, error) {
	return archive(ref.Name(), embedded(ref.Name(), ref.Tag), resolved)
}

func archive(repository string, name imagetar.Name, resolved cache.Manifest) (*imagetar.Archive, error) {
	if err := imageOnly(resolved); err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repository, resolved.Digest, err)
	}
	a, err := imagetar.New(imagetar.Image{
		Manifest:  resolved.Bytes,
		MediaType: mediaType(resolved),
		Name:      name,
	})
	if err != nil {
		// Nor will it ever be: the manifest is what it is.
		return nil, fmt.Errorf("%s@%s: %w: %w", repository, resolved.Digest, ErrNotImage, err)
	}
	return a, nil
}

// embedded is the name that the archive gives its image.
func (i *Image) embedded() imagetar.Name { return embedded(i.repo.name(), i.tag) }

func embedded(repository, tag string) imagetar.Name {
	if tag == "" {
		return imagetar.Name{}
	}
	return imagetar.Name{Repository: repository, Tag: tag}
}

// OpenTar opens image.tar for one who reads all of it in order: as much is
// fetched ahead from the beginning on as may be. The caller closes it.
func (i *Image) OpenTar(ctx context.Context) (*OpenArchive, error) {
	archive, err := i.Archive(ctx)
	if err != nil {
		return nil, err
	}
	open, err := i.repo.openArchive(ctx, archive)
	if err != nil {
		return nil, err
	}
	open.Whole()
	return open, nil
}

// tarSize is the size of image.tar, or why there is none. It is remembered: to be
// listed and looked at is all that happens to most archives.
func (i *Image) tarSize(resolved cache.Manifest) (int64, error) {
	key := archiveKey{i.repo.name(), i.embedded(), resolved.Digest, resolved.MediaType}
	if known, ok := i.repo.tree.sizes.Get(key); ok {
		return known.size, known.err
	}
	var known archiveSize
	archive, err := i.archive(resolved)
	if err == nil {
		known.size = archive.Size()
	} else {
		known.err = err
	}
	i.repo.tree.sizes.Add(key, known)
	return known.size, known.err
}

// An archiveKey is what the layout of an archive follows from, with the manifest
// by its digest.
type archiveKey struct {
	repository string
	name       imagetar.Name
	digest     registry.Digest
	mediaType  string
}

type archiveSize struct {
	size int64
	err  error
}

// rememberedSizes bounds how many archives' sizes are remembered: some 200 bytes
// each.
const rememberedSizes = 16 << 10

// file returns the node of a name in the image directory.
func (i *Image) file(ctx context.Context, name string) (Node, error) {
	m := i.manifest
	if name != manifestName && name != digestName {
		resolved, err := i.Resolved(ctx)
		if err != nil {
			return nil, err
		}
		m = resolved
	}
	return i.fileOf(name, m)
}

// fileOf returns the node called name of the manifest m, which is the
// referenced or the resolved one, as the name asks.
func (i *Image) fileOf(name string, m cache.Manifest) (Node, error) {
	f := contentFile{ino: contentIno(i.repo.name(), m.Digest.String(), name, ""), modTime: m.FirstSeen}
	switch name {
	case manifestName, resolvedManifestName:
		return manifestFile{f, i.repo, m.Digest, int64(len(m.Bytes))}, nil
	case digestName, resolvedDigestName:
		return digestFile{f, m.Digest}, nil
	case tarName:
		size, err := i.tarSize(m)
		if err != nil {
			return nil, err
		}
		f.ino = contentIno(i.repo.name(), m.Digest.String(), name, i.embedded().String())
		return tarFile{f, i.repo, i.embedded(), m.Digest, size}, nil
	}
	return nil, iofs.ErrNotExist
}

// list yields the files of the image directory at path. What is absent for a
// reason, such as a platform that the index does not have, is left out and
// reported.
func (i *Image) list(ctx context.Context, path string, yield func(Entry, error) bool) {
	entry := func(name string, m cache.Manifest, embedded string) bool {
		return yield(Entry{Name: name, Ino: contentIno(i.repo.name(), m.Digest.String(), name, embedded)}, nil)
	}
	if !entry(manifestName, i.manifest, "") || !entry(digestName, i.manifest, "") {
		return
	}
	resolved, err := i.Resolved(ctx)
	if errors.Is(err, ErrNoPlatform) {
		i.repo.tree.opts.Report(path, err)
		return
	}
	if err != nil {
		yield(Entry{}, err)
		return
	}
	if !entry(resolvedManifestName, resolved, "") || !entry(resolvedDigestName, resolved, "") {
		return
	}
	if imageOnly(resolved) != nil {
		return // that an artifact has no image.tar is no news
	}
	if _, err := i.tarSize(resolved); err != nil {
		i.repo.tree.opts.Report(path, err)
		return
	}
	entry(tarName, resolved, i.embedded().String())
}

// mediaType is the manifest's media type.
func mediaType(m cache.Manifest) types.MediaType { return types.MediaType(m.MediaType) }
