package tree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A Description is what is known of the content that a node stands for.
type Description struct {
	// Digest is that of the file's own bytes; the zero Digest where it is not known
	// without reading them, and of a directory.
	Digest registry.Digest
	// Manifest is, where Digest is zero, that of the manifest which the content
	// follows from.
	Manifest registry.Digest
	// MediaType is that of what Digest or Manifest names.
	MediaType string
	// Size is the content's length in bytes: of a file its own, of a directory that of
	// the config and all layers of the image that it stands for, [UnknownSize] where
	// that is not known.
	Size int64
	// Ref names it for other programs: "host/repository:tag@digest".
	Ref string
	// Registry is the host.
	Registry string
	// Annotations are those of the manifest, or of the blob's descriptor: a JSON
	// object, nil where there are none.
	Annotations []byte
	// Cached is how many bytes of Size are on disk.
	Cached int64
}

// UnknownSize is the size of what has none that is known without a request: an index
// whose image for the platform was not looked at, or what has no config and layers.
const UnknownSize = -1

// A Described is a Node that stands for content.
type Described interface {
	Node
	// Describe describes it. It asks the registry only where known says no, and then
	// for manifests alone.
	Describe(ctx context.Context) (Description, error)
	// Known says that describing it needs no request.
	Known() bool
}

var (
	_ Described = imageDir{}
	_ Described = manifestFile{}
	_ Described = digestFile{}
	_ Described = tarFile{}
	_ Described = dockerSaveFile{}
	_ Described = blobFile{}
	_ Described = layerRecord{}
	_ Described = platformFile{}
	_ Described = documentFile{}
)

// describe is what all descriptions in a repository have. One without a tag is named
// by the digest alone.
func (r *repository) describe(tag string, d registry.Digest) Description {
	ref := r.name()
	if tag != "" {
		ref += ":" + tag
	}
	host, _, _ := strings.Cut(r.name(), "/")
	return Description{Ref: ref + "@" + d.String(), Registry: host}
}

// ofManifest describes what follows from a manifest.
func (r *repository) ofManifest(tag string, m cache.Manifest) Description {
	described := r.describe(tag, m.Digest)
	described.Manifest, described.MediaType, described.Annotations = m.Digest, m.MediaType, annotationsOf(m)
	return described
}

// blobs are how long the blobs of a manifest are together, each once, and how much of
// them is on disk. The size is [UnknownSize] where it has none.
func (r *repository) blobs(m cache.Manifest) (size, kept int64) {
	c, err := r.contents(m)
	if err != nil {
		return UnknownSize, 0
	}
	seen := map[registry.Digest]bool{}
	for _, blob := range append([]v1.Descriptor{c.config}, c.layers...) {
		if !seen[blob.Digest] {
			seen[blob.Digest] = true
			size += blob.Size
			kept += r.local.Kept(blob.Digest)
		}
	}
	return size, kept
}

// following describes a file of size bytes that follows from a manifest alone, and
// so is at hand as that is.
func (r *repository) following(ctx context.Context, digest registry.Digest, size int64) (Description, error) {
	m, err := r.manifest(ctx, digest)
	if err != nil {
		return Description{}, err
	}
	d := r.ofManifest("", m)
	d.Size, d.Cached = size, size
	return d, nil
}

// annotationsOf are the annotations of a manifest or index itself.
func annotationsOf(m cache.Manifest) []byte {
	var document struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(m.Bytes, &document) != nil {
		return nil
	}
	return encodeAnnotations(document.Annotations)
}

func encodeAnnotations(a map[string]string) []byte {
	if len(a) == 0 {
		return nil
	}
	b, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return escaped(b)
}

func (d imageDir) Known() bool {
	_, ok := d.of.version()
	return ok
}

// Describe describes the image that the directory is of; of an index what it is, and
// how large the image is that the mount takes of it.
func (d imageDir) Describe(ctx context.Context) (Description, error) {
	i, _, err := d.of.image(ctx)
	if err != nil {
		return Description{}, err
	}
	described := i.repo.ofManifest(i.tag, i.manifest)
	described.Size = UnknownSize
	if resolved, ok := i.resolvedAtHand(); ok {
		described.Size, described.Cached = i.repo.blobs(resolved)
	}
	return described, nil
}

// resolvedAtHand is the manifest for the platform where it needs no request.
func (i *Image) resolvedAtHand() (cache.Manifest, bool) {
	if !i.isIndex() {
		return i.manifest, true
	}
	x, err := i.index()
	if err != nil {
		return cache.Manifest{}, false
	}
	best, _ := i.platform().choose(x)
	if best < 0 {
		return cache.Manifest{}, false
	}
	d, err := x.entries[best].descriptor()
	if err != nil {
		return cache.Manifest{}, false
	}
	return i.repo.kept(d.Digest)
}

func (f manifestFile) Known() bool { return true }

func (f manifestFile) Describe(ctx context.Context) (Description, error) {
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return Description{}, err
	}
	d := f.repo.ofManifest("", m)
	d.Size, d.Cached = f.size, f.size
	// The digest of a signed manifest of schema 1 is that of its payload.
	if sum := sha256.Sum256(m.Bytes); hex.EncodeToString(sum[:]) == f.digest.Hex {
		d.Digest, d.Manifest = f.digest, registry.Digest{}
	}
	return d, nil
}

func (f digestFile) Known() bool { return true }

func (f digestFile) Describe(ctx context.Context) (Description, error) {
	return f.repo.following(ctx, f.digest, int64(len(f.content())))
}

func (f tarFile) Known() bool { return true }

func (f tarFile) Describe(ctx context.Context) (Description, error) {
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return Description{}, err
	}
	d := f.repo.ofManifest(f.name.Tag, m)
	_, d.Cached = f.repo.blobs(m)
	d.Size = f.size
	return d, nil
}

func (f dockerSaveFile) Known() bool { return true }

func (f dockerSaveFile) Describe(ctx context.Context) (Description, error) {
	attr, err := f.Attr(ctx)
	if err != nil {
		return Description{}, err
	}
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return Description{}, err
	}
	d := f.repo.ofManifest(f.name.Tag, m)
	_, d.Cached = f.repo.blobs(m)
	d.Size = attr.Size
	return d, nil
}

func (f blobFile) Known() bool { return true }

func (f blobFile) Describe(context.Context) (Description, error) {
	d := f.repo.describe("", f.blob.Digest)
	d.Digest, d.MediaType, d.Size = f.blob.Digest, string(f.blob.MediaType), f.blob.Size
	d.Annotations, d.Cached = encodeAnnotations(f.blob.Annotations), f.repo.local.Kept(f.blob.Digest)
	return d, nil
}

func (f layerRecord) Known() bool { return true }

// Describe describes the record. What it has of the config is at hand as that is.
func (f layerRecord) Describe(ctx context.Context) (Description, error) {
	d, err := f.repo.following(ctx, f.manifest, f.size)
	if err != nil {
		return Description{}, err
	}
	if m, ok := f.repo.kept(f.manifest); ok {
		if c, err := f.repo.contents(m); err == nil && c.image && f.repo.local.Kept(c.config.Digest) < c.config.Size {
			d.Cached = 0
		}
	}
	return d, nil
}

func (f platformFile) Known() bool { return true }

func (f platformFile) Describe(ctx context.Context) (Description, error) {
	return f.repo.following(ctx, f.digest, f.size)
}

func (f documentFile) Known() bool { return true }

func (f documentFile) Describe(ctx context.Context) (Description, error) {
	return f.repo.following(ctx, f.digest, int64(len(f.content)))
}
