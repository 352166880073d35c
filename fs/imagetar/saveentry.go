package imagetar

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations by which containerd knows images (core/images/annotations.go,
// pkg/labels), and those of BuildKit's attestations
// (docs/attestations/attestation-storage.md).
const (
	imageNameAnnotation = "io.containerd.image.name"
	refNameAnnotation   = "org.opencontainers.image.ref.name"
	sourceAnnotation    = "containerd.io/distribution.source." // and the host
	subjectAnnotation   = "io.containerd.manifest.subject"

	referenceTypeAnnotation   = "vnd.docker.reference.type"
	referenceDigestAnnotation = "vnd.docker.reference.digest"
	attestationType           = "attestation-manifest"
)

type (
	// saveEntry is a descriptor as the engine writes it: its fields are those of
	// image-spec, in the order that its Go types have.
	saveEntry struct {
		MediaType    types.MediaType   `json:"mediaType"`
		Digest       string            `json:"digest"`
		Size         int64             `json:"size"`
		URLs         []string          `json:"urls,omitempty"`
		Annotations  map[string]string `json:"annotations,omitempty"`
		Data         []byte            `json:"data,omitempty"`
		Platform     *savePlatform     `json:"platform,omitempty"`
		ArtifactType string            `json:"artifactType,omitempty"`
	}
	savePlatform struct {
		Architecture string   `json:"architecture"`
		OS           string   `json:"os"`
		OSVersion    string   `json:"os.version,omitempty"`
		OSFeatures   []string `json:"os.features,omitempty"`
		Variant      string   `json:"variant,omitempty"`
	}
	saveIndex struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     []saveEntry     `json:"manifests"`
	}
)

// saveEntries are the entries of a registry's index.
type saveEntries []saveEntry

// maxEntries bounds an index, as it does in fs/tree.
const maxEntries = 10_000

var errTooManyEntries = errors.New("more than ten thousand entries")

// UnmarshalJSON gives up where there are too many.
func (l *saveEntries) UnmarshalJSON(b []byte) (err error) {
	*l, err = list[saveEntry](b, "manifests", maxEntries, errTooManyEntries)
	return err
}

func entriesOf(index []byte) (saveEntries, error) {
	var document struct {
		Manifests saveEntries `json:"manifests"`
	}
	if err := json.Unmarshal(index, &document); err != nil {
		return nil, fmt.Errorf("index: %.200s", err.Error()) // which may quote all of it
	}
	return document.Manifests, nil
}

// entryOf is the entry of an image in an index, the first where there are more.
func entryOf(index []byte, image v1.Hash, size int64) (saveEntry, error) {
	entries, err := entriesOf(index)
	if err != nil {
		return saveEntry{}, err
	}
	for _, e := range entries {
		if e.Digest != image.String() {
			continue
		}
		if e.Size != size {
			return e, fmt.Errorf("index: %s has %d bytes, not %d", image, size, e.Size)
		}
		return e, nil
	}
	return saveEntry{}, fmt.Errorf("index: it does not name %s", image)
}

// PlatformOf is the platform that an index has for a manifest, as in "linux/arm64"; ""
// where it has none, or what it has is no index.
func PlatformOf(index []byte, manifest v1.Hash) string {
	entries, err := entriesOf(index)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.Digest == manifest.String() && e.Platform != nil {
			parts := []string{e.Platform.OS, e.Platform.Architecture, e.Platform.Variant}
			return strings.TrimSuffix(strings.Join(parts, "/"), "/")
		}
	}
	return ""
}

// AttestationOf is the descriptor of what the engine pulls and saves with an image
// of an index: the manifest of BuildKit's attestations, the last one where there are
// more. ok is false where there is none. It fails where the index is none, or has
// more than 10,000 entries.
func AttestationOf(index []byte, image v1.Hash) (d v1.Descriptor, ok bool, err error) {
	entries, err := entriesOf(index)
	if err != nil {
		return d, false, err
	}
	for _, e := range entries {
		if !isManifest(e.MediaType) || e.Annotations[referenceTypeAnnotation] != attestationType ||
			e.Annotations[referenceDigestAnnotation] != image.String() {
			continue
		}
		digest, err := v1.NewHash(e.Digest)
		if err != nil {
			return d, false, fmt.Errorf("index: digest %.80q of an attestation", e.Digest)
		}
		d, ok = v1.Descriptor{MediaType: e.MediaType, Digest: digest, Size: e.Size}, true
	}
	return d, ok, nil
}

func isManifest(t types.MediaType) bool {
	return t == types.OCIManifestSchema1 || t == types.DockerManifestSchema2
}

func isIndex(t types.MediaType) bool {
	return t == types.OCIImageIndex || t == types.DockerManifestList
}

// isForeign says whether a layer may not be distributed: the engine does not save
// it (containerd, core/images/mediatypes.go).
func isForeign(t types.MediaType) bool {
	return strings.HasPrefix(string(t), "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(string(t), "application/vnd.docker.image.rootfs.foreign.")
}
