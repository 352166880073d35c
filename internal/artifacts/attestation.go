package artifacts

import (
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mediaTypeInToto is that of a statement of in-toto.
const mediaTypeInToto = "application/vnd.in-toto+json"

// The predicates that BuildKit attests.
const (
	predicateSPDX = "https://spdx.dev/Document"
	predicateSLSA = "https://slsa.dev/provenance/v0.2"
)

// BuildKit is what `docker buildx build --platform linux/amd64,linux/arm64 --sbom=true
// --push` pushes: an index of two images, and for each of them a manifest that
// attests it (moby/buildkit, docs/attestations/attestation-storage.md).
func BuildKit() *Fixture {
	b := build("buildkit")
	b.indent = "  "
	images := b.images(linux("amd64", ""), linux("arm64", "v8"))
	entries := images
	for _, of := range images {
		entries = append(entries, b.attestation(of))
	}
	return b.tagged(b.index(entries...))
}

// attestation adds what BuildKit attests of an image: a manifest like that of an
// image for no platform, of which each layer is a statement.
func (b *builder) attestation(of ocispec.Descriptor) ocispec.Descriptor {
	unknown := ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	config := ocispec.Image{Platform: unknown, RootFS: ocispec.RootFS{Type: "layers"}}
	var layers []ocispec.Descriptor
	for _, predicate := range []string{predicateSPDX, predicateSLSA} {
		content := statement(of, predicate)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(content))
		layers = append(layers, annotated(b.blob(mediaTypeInToto, content), "in-toto.io/predicate-type", predicate))
	}
	d := b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, marshal(config)), Layers: layers})
	d.Platform = &unknown
	return annotated(d, "vnd.docker.reference.digest", of.Digest.String(), "vnd.docker.reference.type", "attestation-manifest")
}

// statement is a statement of in-toto about an image.
func statement(of ocispec.Descriptor, predicate string) []byte {
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	said := map[string]any{"buildType": "https://mobyproject.org/buildkit@v1"}
	if predicate == predicateSPDX {
		said = map[string]any{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "fixture", "packages": []string{}}
	}
	return marshal(struct {
		Type          string    `json:"_type"`
		PredicateType string    `json:"predicateType"`
		Subject       []subject `json:"subject"`
		Predicate     any       `json:"predicate"`
	}{
		"https://in-toto.io/Statement/v0.1", predicate,
		[]subject{{"pkg:docker/fixture@1.0?platform=" + strings.ReplaceAll(of.Platform.OS+"/"+of.Platform.Architecture, "/", "%2F"),
			map[string]string{"sha256": of.Digest.Encoded()}}},
		said,
	})
}
