package artifacts

import (
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// images adds an image for each platform.
func (b *builder) images(platforms ...ocispec.Platform) []ocispec.Descriptor {
	entries := make([]ocispec.Descriptor, len(platforms))
	for i, p := range platforms {
		entries[i] = b.image(p, base(p, ocispec.MediaTypeImageLayerGzip), command)
	}
	return entries
}

// linux is a platform of Linux.
func linux(architecture, variant string) ocispec.Platform {
	return ocispec.Platform{OS: "linux", Architecture: architecture, Variant: variant}
}

// Variants is an index of images that differ in the variant of the CPU, as those of
// Alpine and Debian do.
func Variants() *Fixture {
	b := build("variants")
	return b.tagged(b.index(b.images(
		linux("amd64", ""), linux("arm", "v6"), linux("arm", "v7"), linux("arm64", "v8"), linux("386", ""),
		linux("ppc64le", ""), linux("riscv64", ""), linux("s390x", ""),
	)...))
}

// windows is a platform of Windows.
func windows(version string, features ...string) ocispec.Platform {
	return ocispec.Platform{OS: "windows", Architecture: "amd64", OSVersion: version, OSFeatures: features}
}

// Windows is an index of images for several builds of Windows, one of them twice
// with other features, and for Linux, as those of Go and Python are.
func Windows() *Fixture {
	b := build("windows")
	return b.tagged(b.index(b.images(
		linux("amd64", ""), windows("10.0.20348.3207"), windows("10.0.17763.6775"), windows("10.0.20348.3207", "win32k"),
	)...))
}

// TwentyPlatforms is an index of images for twenty platforms.
func TwentyPlatforms() *Fixture {
	b := build("twenty")
	platforms := []ocispec.Platform{
		linux("amd64", ""), linux("amd64", "v2"), linux("amd64", "v3"), linux("arm64", "v8"), linux("arm64", "v9"),
		linux("arm", "v5"), linux("arm", "v6"), linux("arm", "v7"), linux("386", ""), linux("loong64", ""),
		linux("mips64le", ""), linux("ppc64le", ""), linux("riscv64", ""), linux("s390x", ""),
	}
	for _, s := range []string{"freebsd", "wasip1", "illumos", "openbsd"} {
		platforms = append(platforms, ocispec.Platform{OS: s, Architecture: "amd64"})
	}
	platforms = append(platforms, windows("10.0.17763.6775"), windows("10.0.26100.2894"))
	return b.tagged(b.index(b.images(platforms...)...))
}

// Nested is an index of an image and of two indexes, one of which says for which
// platform it is.
func Nested() *Fixture {
	b := build("nested")
	arms := b.index(b.images(linux("arm64", "v8"), linux("arm", "v7"))...)
	powers := b.index(b.images(linux("ppc64le", ""), linux("ppc64", ""))...)
	platform := linux("ppc64le", "")
	powers.Platform = &platform
	return b.tagged(b.index(append(b.images(linux("amd64", "")), arms, powers)...))
}

// ManifestList is an index of Docker's schema 2.
func ManifestList() *Fixture {
	b := build("manifest-list")
	b.indent = "   "
	var entries []ocispec.Descriptor
	for _, p := range []ocispec.Platform{linux("amd64", ""), linux("arm64", "v8")} {
		entries = append(entries, b.dockerImage(p, base(p, string(types.DockerLayer)), command))
	}
	return b.tagged(b.document(string(types.DockerManifestList), ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: string(types.DockerManifestList), Manifests: entries,
	}))
}
