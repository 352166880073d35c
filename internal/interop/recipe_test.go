package interop

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A recipe is how to make an image, push it and look it up. The zero value, with
// a name, makes one with gzipped layers that is looked up by its tag.
type recipe struct {
	name     string
	layers   types.MediaType // "" is gzip
	docker   bool            // with Docker's media types
	repeated bool            // one layer occurs twice, with another one between
	index    bool            // in an index, with an image for another platform
	tag      string          // "" is 1.0
	host     string          // "" is the registry's own
	by       string          // "digest", "tag@digest"; "" is by tag
}

// recipes are the columns of the matrix.
var recipes = []recipe{
	{name: "gzip"},
	{name: "zstd", layers: types.OCILayerZStd},
	{name: "uncompressed", layers: types.OCIUncompressedLayer},
	{name: "schema 2", docker: true},
	{name: "repeated", repeated: true},
	{name: "long tag", tag: strings.Repeat("0123456789abcdef", 8)}, // 128 characters, the most that the distribution spec allows
	{name: "index", index: true},
	{name: "docker.io", host: dockerHub},
	{name: "tag@digest", by: "tag@digest"},
	{name: "digest", by: "digest"},
}

// makeImages pushes all images. program is what they run.
func makeImages(t *testing.T, s *distributiontest.Server, program string) []*image {
	t.Helper()
	executable, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var images []*image
	for _, r := range recipes {
		im := &image{name: r.name, host: s.Host, repository: "some/" + strings.NewReplacer(" ", "-", "@", "-").Replace(r.name), tag: "1.0"}
		if r.tag != "" {
			im.tag = r.tag
		}
		if r.host != "" {
			im.host = r.host
		}
		made := r.make(t, executable, im.line())
		if r.index {
			other := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Architecture: "s390x"})
			s.PushIndex(t, im.repository, im.tag, registrytest.Index(t, other, made))
		} else {
			s.Push(t, im.repository, im.tag, made)
		}
		b, err := made.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		m := parseManifest(t, b)
		im.digest, im.config, im.layers = m.digest, m.config, len(m.layers)
		switch r.by {
		case "digest":
			im.below, im.tag = "digests/"+im.digest.String(), ""
		case "tag@digest":
			im.tag = "pinned" // which the registry does not have
			im.below = "tags/" + im.tag + "@" + im.digest.String()
		default:
			im.below = "tags/" + im.tag
		}
		images = append(images, im)
	}
	return images
}

// make makes an image that says line.
func (r *recipe) make(t *testing.T, executable []byte, line string) v1.Image {
	t.Helper()
	manifestType, configType, layerType := types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer
	if r.docker {
		manifestType, configType, layerType = types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer
	}
	if r.layers != "" {
		layerType = r.layers
	}
	says := func(line string) v1.Layer { return layer(t, layerType, lineName, 0o644, []byte(line)) }
	layers := []v1.Layer{layer(t, layerType, programName, 0o755, executable), says(line)}
	if r.repeated {
		// Who leaves the second out has the line of the one between.
		layers = append(layers, says("not this\n"), layers[1])
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifestType), configType)
	image, err := mutate.AppendLayers(image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Cmd = []string{"/" + programName}
	config.Author = r.name // no two have one config
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// The files of an image.
const (
	programName = "program"
	lineName    = "line"
)

// layer makes a layer of one file.
func layer(t *testing.T, mediaType types.MediaType, name string, mode int64, content []byte) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{
		Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	options := []tarball.LayerOption{tarball.WithMediaType(mediaType)}
	switch mediaType {
	case types.OCIUncompressedLayer:
		return static.NewLayer(b.Bytes(), mediaType)
	case types.OCILayerZStd:
		options = append(options, tarball.WithCompression(compression.ZStd))
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}
