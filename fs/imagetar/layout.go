package imagetar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxSize is the most that sizes may add up to. It leaves room for headers, so
// that no sum below can overflow.
const maxSize = math.MaxInt64 / 2

// An Image is what an archive is made from.
type Image struct {
	Manifest  []byte          // exactly as the registry serves it
	MediaType types.MediaType // of the manifest
	Name      Name
}

// New lays out the archive of an image. It fails where the manifest is not one
// of an image with sha256 digests, where sizes are negative or too large, where
// one digest comes with two sizes, and where there are more than 1,000 layers. Every byte of the archive follows from
// the manifest's bytes, its media type and the name.
func New(image Image) (*Archive, error) {
	parsed, err := Parse(image.Manifest)
	if err != nil {
		return nil, fmt.Errorf("lay out image: %w", err)
	}
	documents, err := render(image, parsed)
	if err != nil {
		return nil, fmt.Errorf("lay out image: %w", err)
	}

	b := &builder{}
	b.file("oci-layout", fileMode, documents.layout)
	b.file("index.json", fileMode, documents.index)
	b.file("manifest.json", fileMode, documents.manifest)
	if image.Name != (Name{}) {
		// docker2aci needs both, in this order.
		b.file("repositories", fileMode, documents.repositories)
		b.file("refs/"+image.Name.Tag, fileMode, documents.ref)
	}
	b.dir("blobs/")
	b.dir(blobDir)
	b.file(blobName(documents.descriptor.Digest), fileMode, image.Manifest)

	seen := map[v1.Hash]int64{documents.descriptor.Digest: documents.descriptor.Size}
	for i, d := range append([]v1.Descriptor{parsed.Config}, parsed.Layers...) {
		if size, ok := seen[d.Digest]; ok {
			if size != d.Size {
				return nil, fmt.Errorf("lay out image: %s has two sizes, %d and %d", d.Digest, size, d.Size)
			}
			continue
		}
		seen[d.Digest] = d.Size
		b.blob(d, fileMode, i > 0)
	}
	return b.finish()
}

// A Manifest is what is needed of one.
type Manifest struct {
	Config v1.Descriptor `json:"config"`
	Layers layers        `json:"layers"`
}

// maxLayers bounds an image: overlayfs, the only way to run one, stacks 500
// layers at most. A manifest as long as a registry may send has room for a
// million empty descriptors, and a reader opens a file for each.
const maxLayers = 1000

var errTooManyLayers = errors.New("more than a thousand layers")

// layers are the descriptors of an image's layers.
type layers []v1.Descriptor

// UnmarshalJSON gives up where there are too many.
func (l *layers) UnmarshalJSON(b []byte) (err error) {
	*l, err = list[v1.Descriptor](b, "layers", maxLayers, errTooManyLayers)
	return err
}

// list decodes a list of at most so many elements, without room for more: what is
// longer is the error tooMany.
func list[T any](b []byte, of string, most int, tooMany error) ([]T, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	switch begin, err := dec.Token(); {
	case err != nil || begin == nil: // null
		return nil, err
	case begin != json.Delim('['):
		return nil, fmt.Errorf("its %s are no list", of)
	}
	var all []T
	for dec.More() {
		if len(all) == most {
			return nil, tooMany
		}
		var element T
		if err := dec.Decode(&element); err != nil {
			return nil, err
		}
		all = append(all, element)
	}
	return all, nil
}

// Parse parses the manifest of an image or artifact, and checks what a hostile one
// could get wrong: all digests are sha256, no size is negative, their sum is no
// overflow, and there are at most 1,000 layers. The manifest's digest has been
// checked by whoever fetched it, which says nothing of its contents.
func Parse(b []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("manifest: %.200s", err.Error()) // which may quote all of it
	}
	if m.Config.Digest == (v1.Hash{}) {
		return nil, errors.New("manifest without a config")
	}
	var sum int64
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 {
			return nil, fmt.Errorf("digest %q is not sha256", d.Digest)
		}
		if d.Size < 0 || d.Size > maxSize-sum {
			return nil, fmt.Errorf("blob %s: size %d", d.Digest, d.Size)
		}
		sum += d.Size
	}
	return m, nil
}
