package artifacts

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The types of what refers to an image.
const (
	artifactTypeSPDX     = "application/spdx+json"
	artifactTypeNotation = "application/vnd.cncf.notary.signature"
)

// mediaTypeSimpleSigning is that of what cosign signs.
const mediaTypeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"

// Signed is an image with an SBOM and signatures that name it as their subject, as
// oras and notation push them, and with those that cosign pushes under tags of their
// own. The registry has to find the former (distribution-spec, "Listing
// Referrers").
func Signed() *Fixture {
	b := build("signed")
	image := b.image(linuxAMD64, base(linuxAMD64, ocispec.MediaTypeImageLayerGzip), command)
	b.referrers(image)
	b.cosign(image)
	return b.tagged(image)
}

// SignedByTags is such an image in a registry that finds nothing: a client keeps the
// list under a tag (distribution-spec, "Referrers Tag Schema").
func SignedByTags() *Fixture {
	b := build("signed-by-tags")
	image := b.image(linuxAMD64, base(linuxAMD64, ocispec.MediaTypeImageLayerGzip), step{by: "LABEL list=tag"})
	list := b.index(b.referrers(image)...)
	b.tag(schemaTag(image, ""), list)
	b.cosign(image)
	return b.tagged(image)
}

// tag names a manifest.
func (b *builder) tag(name string, d ocispec.Descriptor) {
	b.fixture.Tags[name] = v1.Hash{Algorithm: string(d.Digest.Algorithm()), Hex: d.Digest.Encoded()}
}

// schemaTag is the tag that stands for something about an image.
func schemaTag(image ocispec.Descriptor, suffix string) string {
	return strings.Replace(image.Digest.String(), ":", "-", 1) + suffix
}

// referrers adds what refers to an image by its subject, and returns what a list of
// them has.
func (b *builder) referrers(image ocispec.Descriptor) []ocispec.Descriptor {
	subject := ocispec.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}
	sbom := marshal(map[string]any{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "fixture", "packages": []string{}})
	var list []ocispec.Descriptor
	for _, m := range []ocispec.Manifest{
		{
			ArtifactType: artifactTypeSPDX, Config: b.empty(),
			Layers: []ocispec.Descriptor{titled(b.blob(artifactTypeSPDX, sbom), "sbom.spdx.json")},
		},
		{
			// Notation gives the type by that of the config.
			Config:      b.blob(artifactTypeNotation, []byte("{}")),
			Layers:      []ocispec.Descriptor{b.blob("application/jose+json", []byte(`{"payload":"","signature":""}`))},
			Annotations: map[string]string{"io.cncf.notary.x509chain.thumbprint#S256": `["00"]`},
		},
		{
			ArtifactType: "application/vnd.in-toto+json", Config: b.empty(),
			Layers: []ocispec.Descriptor{annotated(b.blob(mediaTypeInToto, statement(image, predicateSLSA)), "in-toto.io/predicate-type", predicateSLSA)},
		},
	} {
		m.Subject = &subject
		d := b.manifest(m)
		// What a list says of each of them (image-spec, descriptor.md).
		d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
		if d.ArtifactType == "" {
			d.ArtifactType = m.Config.MediaType
		}
		list = append(list, d)
	}
	return list
}

// cosign adds what cosign keeps of an image under tags: a signature, attestations, an
// SBOM (sigstore/cosign, specs/SIGNATURE_SPEC.md).
func (b *builder) cosign(image ocispec.Descriptor) {
	payload := marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": "example.com/fixture"},
			"image":    map[string]string{"docker-manifest-digest": image.Digest.String()},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
	envelope := marshal(map[string]any{"payloadType": mediaTypeInToto, "payload": statement(image, predicateSPDX), "signatures": []any{}})
	for _, kept := range []struct {
		suffix string
		layer  ocispec.Descriptor
	}{
		{".sig", annotated(b.blob(mediaTypeSimpleSigning, payload), "dev.cosignproject.cosign/signature", "MEUCIQ==")},
		{".att", annotated(b.blob("application/vnd.dsse.envelope.v1+json", envelope), "dev.cosignproject.cosign/signature", "", "predicateType", predicateSPDX)},
		{".sbom", b.blob("text/spdx+json", []byte(`{"spdxVersion":"SPDX-2.3"}`))},
	} {
		// Such an image is for no platform, and says that its layer is not compressed.
		config := marshal(ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{kept.layer.Digest}}})
		b.tag(schemaTag(image, kept.suffix), b.manifest(ocispec.Manifest{
			Config: b.blob(ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{kept.layer},
		}))
	}
}
