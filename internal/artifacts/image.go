package artifacts

import (
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// made is when all was made.
var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A step is a line of an image's history, and the layer that it made, if any.
type step struct {
	by        string
	layer     layer
	mediaType string // of the layer; "" where it made none
}

// image adds an image of OCI for a platform.
func (b *builder) image(platform ocispec.Platform, steps ...step) ocispec.Descriptor {
	config, layers := b.parts(platform, steps)
	d := b.manifest(ocispec.Manifest{Config: b.blob(ocispec.MediaTypeImageConfig, config), Layers: layers})
	d.Platform = &platform
	return d
}

// dockerImage adds an image of Docker's schema 2 for a platform.
func (b *builder) dockerImage(platform ocispec.Platform, steps ...step) ocispec.Descriptor {
	config, layers := b.parts(platform, steps)
	d := b.document(string(types.DockerManifestSchema2), ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: string(types.DockerManifestSchema2),
		Config: b.blob(string(types.DockerConfigJSON), config), Layers: layers,
	})
	d.Platform = &platform
	return d
}

// parts are the config of an image, and its layers.
func (b *builder) parts(platform ocispec.Platform, steps []step) (config []byte, layers []ocispec.Descriptor) {
	image := ocispec.Image{
		Created: &made, Platform: platform,
		Config: ocispec.ImageConfig{Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}, WorkingDir: "/"},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	}
	layers = []ocispec.Descriptor{}
	for _, s := range steps {
		image.History = append(image.History, ocispec.History{Created: &made, CreatedBy: s.by, EmptyLayer: s.mediaType == ""})
		if s.mediaType != "" {
			image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, s.layer.diffID)
			layers = append(layers, b.blob(s.mediaType, s.layer.stored))
		}
	}
	return marshal(image), layers
}

// base is the step that images begin with: the files of a system, for a platform.
func base(platform ocispec.Platform, mediaType string) step {
	says := fmt.Sprintf("%s %s %s %s\n", platform.OS, platform.Architecture, platform.Variant, platform.OSVersion)
	return step{
		by: "ADD rootfs.tar.gz / # buildkit", mediaType: mediaType,
		layer: zipped(file{"etc/", ""}, file{"etc/os-release", "ID=fixture\n"}, file{"etc/platform", says}),
	}
}

// command is the step that ends most of them.
var command = step{by: `CMD ["/bin/sh"]`}

var linuxAMD64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// Layers is an image whose layers are stored in each way that there is. Two are the
// same, and there is history that made none.
func Layers() *Fixture {
	b := build("layers")
	again := zipped(file{"srv/again", "again\n"})
	return b.tagged(b.image(linuxAMD64,
		base(linuxAMD64, ocispec.MediaTypeImageLayerGzip),
		step{by: "ENV LANG=C.UTF-8"},
		step{by: "COPY again /srv/ # buildkit", layer: again, mediaType: ocispec.MediaTypeImageLayerGzip},
		step{by: "COPY plain /srv/ # buildkit", layer: plain(file{"srv/plain", "plain\n"}), mediaType: ocispec.MediaTypeImageLayer},
		step{by: "WORKDIR /srv"},
		step{by: "COPY zstd /srv/ # buildkit", layer: zstandard(file{"srv/zstd", "zstd\n"}), mediaType: ocispec.MediaTypeImageLayerZstd},
		step{by: "COPY again /srv/ # buildkit", layer: again, mediaType: ocispec.MediaTypeImageLayerGzip},
		command,
	))
}

// Schema2 is an image with Docker's media types.
func Schema2() *Fixture {
	b := build("schema2")
	b.indent = "   "
	return b.tagged(b.dockerImage(linuxAMD64,
		base(linuxAMD64, string(types.DockerLayer)),
		step{by: "/bin/sh -c #(nop)  ENV LANG=C.UTF-8"},
		step{by: "/bin/sh -c #(nop) COPY file in /srv/", layer: zipped(file{"srv/file", "file\n"}), mediaType: string(types.DockerLayer)},
		command,
	))
}
