package layers

import (
	"bytes"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Target takes content as it is, such as a registry inside a test.
type Target interface {
	PutBlob(repository string, b []byte) v1.Hash
	PutManifest(repository, tag string, mediaType types.MediaType, b []byte) v1.Hash
}

// Push puts an image for linux/amd64 into a repository, the lowest layer first, and
// returns its digest.
func Push(to Target, repository, tag string, layers []Layer) (v1.Hash, error) {
	config := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		config.History = append(config.History, v1.History{CreatedBy: "layer of a test"})
		m.Layers = append(m.Layers, v1.Descriptor{
			MediaType: l.MediaType, Size: int64(len(l.Blob)), Digest: to.PutBlob(repository, l.Blob), Annotations: l.Annotations,
		})
	}
	b, err := json.Marshal(config)
	if err != nil {
		return v1.Hash{}, err
	}
	m.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(b)), Digest: to.PutBlob(repository, b)}
	var manifest bytes.Buffer
	if err := json.NewEncoder(&manifest).Encode(m); err != nil {
		return v1.Hash{}, err
	}
	return to.PutManifest(repository, tag, types.OCIManifestSchema1, manifest.Bytes()), nil
}
