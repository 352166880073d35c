package artifacts

import (
	"encoding/json"
	"fmt"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A builder collects what a fixture is made of.
type builder struct {
	fixture *Fixture
	// indent is how manifests are written: BuildKit indents them, others do not.
	indent string
}

func build(name string) *builder {
	return &builder{fixture: &Fixture{Name: name, Blobs: map[v1.Hash][]byte{}, Tags: map[string]v1.Hash{}}}
}

// tagged ends the fixture: it is looked at by what d is.
func (b *builder) tagged(d ocispec.Descriptor) *Fixture {
	b.fixture.Digest = v1.Hash{Algorithm: string(d.Digest.Algorithm()), Hex: d.Digest.Encoded()}
	b.fixture.Tags[Tag] = b.fixture.Digest
	return b.fixture
}

// blob adds a blob.
func (b *builder) blob(mediaType string, content []byte) ocispec.Descriptor {
	b.fixture.Blobs[digestOf(content)] = content
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// document adds a manifest or index.
func (b *builder) document(mediaType string, of any) ocispec.Descriptor {
	var content []byte
	if b.indent == "" {
		content = marshal(of)
	} else {
		var err error
		if content, err = json.MarshalIndent(of, "", b.indent); err != nil {
			panic(err) // it is made of strings and numbers
		}
	}
	if _, has := b.fixture.manifest(digestOf(content)); !has {
		b.fixture.Manifests = append(b.fixture.Manifests, Manifest{digestOf(content), types.MediaType(mediaType), content})
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// manifest adds a manifest of OCI.
func (b *builder) manifest(m ocispec.Manifest) ocispec.Descriptor {
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	return b.document(m.MediaType, m)
}

// index adds an index of OCI.
func (b *builder) index(entries ...ocispec.Descriptor) ocispec.Descriptor {
	return b.document(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries,
	})
}

// marshal is compact JSON.
func marshal(of any) []byte {
	b, err := json.Marshal(of)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return b
}

// annotated is a descriptor with more annotations, as pairs of key and value.
func annotated(d ocispec.Descriptor, pairs ...string) ocispec.Descriptor {
	if len(pairs)%2 != 0 {
		panic(fmt.Sprintf("annotations %q", pairs))
	}
	d.Annotations = maps.Clone(d.Annotations)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	for i := 0; i < len(pairs); i += 2 {
		d.Annotations[pairs[i]] = pairs[i+1]
	}
	return d
}
