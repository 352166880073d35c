package tree

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
)

// imageOnly is [ErrNotImage], with the reason, for a manifest that is not a
// container image's: those say so by the type of their config.
func imageOnly(m cache.Manifest) error {
	if t := mediaType(m); t != types.OCIManifestSchema1 && t != types.DockerManifestSchema2 {
		return fmt.Errorf("%w: its manifest is %.80q", ErrNotImage, m.MediaType)
	}
	var document struct {
		Config struct {
			MediaType types.MediaType `json:"mediaType"`
		} `json:"config"`
	}
	if err := json.Unmarshal(m.Bytes, &document); err != nil {
		return fmt.Errorf("%w: its manifest: %.200s", ErrNotImage, err.Error()) // which may quote all of it
	}
	if t := document.Config.MediaType; !isImageConfig(t) && !isLegacyConfig(mediaType(m), t) {
		return fmt.Errorf("%w: its config is %.80q", ErrNotImage, t)
	}
	if parsed, err := imagetar.Parse(m.Bytes); err == nil && areDocuments(parsed.Layers) {
		// Attestations of BuildKit and signatures of cosign have an image's config.
		return fmt.Errorf("%w: its layers are documents", ErrNotImage)
	}
	return nil
}

// areDocuments says whether there are layers, and all are texts to read, none an
// archive.
func areDocuments(layers []v1.Descriptor) bool {
	for _, d := range layers {
		t := string(d.MediaType)
		if !strings.HasSuffix(t, "+json") && !strings.HasSuffix(t, "/json") && !strings.HasSuffix(t, "+xml") && !strings.HasPrefix(t, "text/") {
			return false
		}
	}
	return len(layers) > 0
}

func isImageConfig(t types.MediaType) bool {
	return t == types.OCIConfigJSON || t == types.DockerConfigJSON
}

// isLegacyConfig says whether the config of a schema 2 manifest has one of the
// types that registries and clients gave to those of images by mistake, and that
// Docker takes to this day (distribution#1621, moby#22378, moby#30083).
func isLegacyConfig(manifest, config types.MediaType) bool {
	if manifest != types.DockerManifestSchema2 {
		return false
	}
	switch config {
	case "", "application/octet-stream", "application/json", "text/html":
		return true
	}
	return false
}
