package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An ImageSpec describes an image to make. What is made follows from it alone.
type ImageSpec struct {
	// Layers are the sizes of the file in each layer, in bytes, which does not
	// compress. The same size twice is the same layer twice.
	Layers []int64
	// Docker makes the media types those of Docker's schema 2.
	Docker bool
	// Platform is what the config says; "" is linux/amd64.
	OS, Architecture, Variant string
	// Seed makes images of the same sizes differ.
	Seed uint64
}

// Image makes an image whose layers are gzipped tarballs of one file each.
func Image(t testing.TB, spec ImageSpec) v1.Image {
	t.Helper()
	manifestType, configType, layerType := types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer
	if spec.Docker {
		manifestType, configType, layerType = types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifestType), configType)
	for _, size := range spec.Layers {
		var err error
		if image, err = mutate.AppendLayers(image, layer(t, layerType, spec.Seed, size)); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = spec.OS, spec.Architecture, spec.Variant
	if config.OS == "" {
		config.OS = "linux"
	}
	if config.Architecture == "" {
		config.Architecture = "amd64"
	}
	config.Author = fmt.Sprint("seed ", spec.Seed)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// Index makes an index of images, each with the platform that its config has.
func Index(t testing.TB, images ...v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if t, err := image.MediaType(); err == nil && t == types.DockerManifestSchema2 {
			index = mutate.IndexMediaType(index, types.DockerManifestList)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()},
		})
	}
	return index
}

// layer makes a layer of one file of size bytes.
func layer(t testing.TB, mediaType types.MediaType, seed uint64, size int64) v1.Layer {
	t.Helper()
	var key [32]byte
	key[0], key[1] = byte(seed), byte(size)
	var out bytes.Buffer
	// Random bytes do not shrink, and to find that out takes the race detector most of
	// a minute for an image.
	zipped, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(zipped)
	if err := archive.WriteHeader(&tar.Header{
		Name: fmt.Sprintf("file-%d-%d", seed, size), Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(archive, rand.NewChaCha8(key), size); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(out.Bytes())), nil
	}, tarball.WithMediaType(mediaType))
	if err != nil {
		t.Fatal(err)
	}
	return made
}
