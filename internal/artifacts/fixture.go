// Package artifacts makes what registries hold besides the plain image: indexes of
// many platforms, attestations, signatures, charts, files, and what is left of older
// formats. Each is made as the program makes it that people make it with, on the
// spot, and follows from the code here alone: no compressor and no clock has a part
// in it, so that tests can name its digests.
package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Fixture is the content of one repository. It is immutable.
type Fixture struct {
	Name string // of files that are about it, and a component of a repository
	// Digest is what [Tag] names.
	Digest v1.Hash
	// Manifests are all manifests and indexes. What one refers to comes before it.
	Manifests []Manifest
	// Blobs are all blobs, by digest.
	Blobs map[v1.Hash][]byte
	// Tags are all tags.
	Tags map[string]v1.Hash
	// ReadOnly says that it is of a kind that registries still serve, and take no more.
	ReadOnly bool
}

// Tag is the tag by which a fixture is looked at.
const Tag = "1.0"

// A Manifest is a manifest or index. The digest is what registries call it: of a
// signed schema 1 manifest that of its payload.
type Manifest struct {
	Digest    v1.Hash
	MediaType types.MediaType
	Bytes     []byte
}

// All makes all fixtures, each with another name.
func All() []*Fixture {
	return []*Fixture{
		BuildKit(), Variants(), Windows(), TwentyPlatforms(), Nested(), ManifestList(),
		Layers(), Schema2(), Schema1(),
		Chart(), Files(), EmptyConfig(),
		Signed(), SignedByTags(),
	}
}

// A Target takes content as it is, such as a registry inside a test.
type Target interface {
	PutBlob(repository string, b []byte) v1.Hash
	PutManifestAs(repository string, d v1.Hash, mediaType types.MediaType, b []byte)
	Tag(repository, tag string, d v1.Hash)
}

// Put puts all of it into a repository.
func (f *Fixture) Put(to Target, repository string) {
	for _, b := range f.Blobs {
		to.PutBlob(repository, b)
	}
	for _, m := range f.Manifests {
		to.PutManifestAs(repository, m.Digest, m.MediaType, m.Bytes)
	}
	for tag, d := range f.Tags {
		to.Tag(repository, tag, d)
	}
}

// Push uploads all of it to a repository of a registry on loopback, which is open to
// everybody and takes manifests only when it has what they refer to.
func (f *Fixture) Push(ctx context.Context, host, repository string) error {
	if f.ReadOnly {
		return fmt.Errorf("push %s: no registry takes it any more", f.Name)
	}
	to := upload{base: "http://" + host + "/v2/" + repository}
	for d, b := range f.Blobs {
		if err := to.blob(ctx, d, b); err != nil {
			return err
		}
	}
	for _, m := range f.Manifests {
		references := []string{m.Digest.String()}
		for _, tag := range slices.Sorted(maps.Keys(f.Tags)) {
			if f.Tags[tag] == m.Digest {
				references = append(references, tag)
			}
		}
		for _, reference := range references {
			if err := to.manifest(ctx, reference, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// manifest returns one of the manifests.
func (f *Fixture) manifest(d v1.Hash) (Manifest, bool) {
	for _, m := range f.Manifests {
		if m.Digest == d {
			return m, true
		}
	}
	return Manifest{}, false
}

// digestOf is the digest of bytes.
func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
