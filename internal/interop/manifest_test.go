package interop

import (
	"bytes"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A manifest is what a loader made of an image's.
type manifest struct {
	digest, config v1.Hash
	layers         []types.MediaType
}

// keeps is what a manifest keeps of an image.
func (m manifest) keeps(im *image) kept {
	if m.digest == im.digest {
		return theDigest
	}
	return when(m.config == im.config && len(m.layers) == im.layers, theConfig)
}

func parseManifest(t *testing.T, b []byte) manifest {
	t.Helper()
	parsed, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest{digest: digest, config: parsed.Config.Digest}
	for _, layer := range parsed.Layers {
		m.layers = append(m.layers, layer.MediaType)
	}
	return m
}

func readManifest(t *testing.T, path string) manifest {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseManifest(t, b)
}
