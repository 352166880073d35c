package tree

import (
	"context"
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
	parent   cache.Manifest // the index that it was looked up in; the zero Manifest where it was in none
	pinned   bool           // the reference has a digest
	own      Platform       // of an index in platforms/, what it is there for; else the zero Platform
}

// Manifest is the referenced manifest or index.
func (i *Image) Manifest() cache.Manifest { return i.manifest }

// Resolved is the manifest for the image's platform, the referenced one where
// that is no index. The error is [ErrNoPlatform] where the index has none.
func (i *Image) Resolved(ctx context.Context) (cache.Manifest, error) {
	return i.platform().Resolve(ctx, i.repo.name(), i.manifest, i.repo.manifest)
}

// platform is what an index stands for an image of: the tree's, but in platforms/
// what the outer index says.
func (i *Image) platform() Platform {
	if i.own.spec.OS != "" {
		return i.own
	}
	return i.repo.tree.opts.Platform
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

// isIndex says whether the reference is an index.
func (i *Image) isIndex() bool { return isIndex(mediaType(i.manifest)) }

// in is the index that the resolved image is one of; the zero Manifest where that is
// not known.
func (i *Image) in() cache.Manifest {
	if i.isIndex() {
		return i.manifest
	}
	return i.parent
}

// index is the referenced index.
func (i *Image) index() (*index, error) {
	if !i.isIndex() {
		return nil, iofs.ErrNotExist
	}
	return i.repo.index(i.manifest)
}

// fileOf returns the file called name of the manifest m, which is the referenced or
// the resolved one, as the name asks.
func (i *Image) fileOf(name string, m cache.Manifest) Node {
	if name == digestName || name == resolvedDigestName {
		return digestFile{i.content(m, name, ""), i.repo, m.Digest}
	}
	return i.manifestFile(m, name)
}

// manifestFile returns the file of a manifest; name is its path in the image
// directory.
func (i *Image) manifestFile(m cache.Manifest, name string) Node {
	return manifestFile{i.content(m, name, ""), i.repo, m.Digest, int64(len(m.Bytes))}
}

// tarFile returns image.tar of the resolved manifest, or why there is none.
func (i *Image) tarFile(resolved cache.Manifest) (Node, error) {
	size, err := i.tarSize(resolved)
	if err != nil {
		return nil, err
	}
	return tarFile{i.content(resolved, tarName, i.embedded().String()), i.repo, i.embedded(), resolved.Digest, size}, nil
}

// document returns a file whose bytes follow from a manifest and the image's name.
func (i *Image) document(m cache.Manifest, name string, content []byte) Node {
	return documentFile{i.content(m, name, i.embedded().String()), i.repo, m.Digest, content}
}

// content is the identity of a file of a manifest; name is its path in the image
// directory, embedded what it holds besides.
func (i *Image) content(m cache.Manifest, name, embedded string) contentFile {
	return contentFile{contentIno(i.repo.name(), m.Digest.String(), name, embedded), m.FirstSeen}
}

// mediaType is the manifest's media type.
func mediaType(m cache.Manifest) types.MediaType { return types.MediaType(m.MediaType) }
