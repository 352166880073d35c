package imagetar

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const blobDir = "blobs/sha256/"

// blobName is a blob's path, in the archive as in an OCI image layout.
func blobName(d v1.Hash) string { return blobDir + d.Hex }

// documents are the JSON members of an archive, and the descriptor of the
// manifest that they name.
type documents struct {
	descriptor   descriptor
	layout       []byte // oci-layout
	index        []byte // index.json
	manifest     []byte // manifest.json, docker load's
	repositories []byte // docker load's of before 1.10; docker2aci reads it
	ref          []byte // refs/<tag>
}

// The JSON that is written, its keys in the order of the file. The types are
// ours so that this order, and with it the archive's bytes, is no library's to
// change.
type (
	descriptor struct {
		MediaType   types.MediaType `json:"mediaType"`
		Digest      v1.Hash         `json:"digest"`
		Size        int64           `json:"size"`
		Annotations *annotations    `json:"annotations,omitempty"`
	}
	// annotations are how containerd and Docker know an image's name
	// (containerd, images/annotations.go; image-spec, annotations.md).
	annotations struct {
		ImageName string `json:"io.containerd.image.name"`
		RefName   string `json:"org.opencontainers.image.ref.name"`
	}
	index struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     []descriptor    `json:"manifests"`
	}
	dockerManifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
)

// layoutDocument is oci-layout (image-spec, image-layout.md).
var layoutDocument = []byte(`{"imageLayoutVersion":"1.0.0"}`)

// render writes the documents of an image.
func render(image Image, parsed *Manifest) (*documents, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(image.Manifest))
	if err != nil {
		return nil, err
	}
	d := &documents{layout: layoutDocument, descriptor: descriptor{MediaType: image.MediaType, Digest: digest, Size: size}}

	entry := d.descriptor
	docker := dockerManifest{Config: blobName(parsed.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	for _, layer := range parsed.Layers {
		docker.Layers = append(docker.Layers, blobName(layer.Digest))
	}
	if image.Name != (Name{}) {
		entry.Annotations = &annotations{ImageName: image.Name.String(), RefName: image.Name.Tag}
		docker.RepoTags = []string{image.Name.String()}
	}

	for _, doc := range []struct {
		to   *[]byte
		from any
	}{
		// Exactly one entry: a loader that finds an index here looks for
		// platforms whose blobs are not in the archive (kind#3795).
		{&d.index, index{2, types.OCIImageIndex, []descriptor{entry}}},
		{&d.manifest, []dockerManifest{docker}},
		{&d.repositories, map[string]map[string]string{image.Name.Repository: {image.Name.Tag: digest.Hex}}},
		{&d.ref, d.descriptor},
	} {
		if *doc.to, err = compact(doc.from); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Layout returns oci-layout and index.json of an image as the archive has them: with
// the manifest, the config and the layers in blobs/sha256/ they are an OCI image
// layout.
func Layout(image Image) (layout, index []byte, err error) {
	parsed, err := Parse(image.Manifest)
	if err != nil {
		return nil, nil, fmt.Errorf("lay out image: %w", err)
	}
	d, err := render(image, parsed)
	if err != nil {
		return nil, nil, fmt.Errorf("lay out image: %w", err)
	}
	return d.layout, d.index, nil
}

// compact encodes v without white space, without the escapes that HTML needs
// and without a newline at its end.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
