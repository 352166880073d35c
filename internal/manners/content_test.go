package manners

import (
	"fmt"
	"io"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// What every registry has.
const (
	imageRepository = "some/where/app"
	imageTag        = "1.0"
	indexRepository = "some/multi"
	indexTag        = "latest"
	platform        = "linux/amd64"
)

// content is what is pushed.
type content struct {
	image v1.Image
	index v1.ImageIndex
	// ofIndex is the index's image for the platform.
	ofIndex v1.Image
	// few and many are the image's tags, sorted: on one page, and on two.
	few, many []string
	blobs     map[string][]byte
	// size is how many bytes the layers of the image have.
	size int64
}

func newContent(t *testing.T) *content {
	t.Helper()
	c := &content{
		// One layer is larger than what is fetched at once.
		image:   registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{12 << 20, 300_000, 10}}),
		ofIndex: registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{70_000}, Seed: 1, Docker: true}),
		blobs:   map[string][]byte{},
	}
	other := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{50_000}, Seed: 2, Architecture: "arm64", Docker: true})
	c.index = registrytest.Index(t, other, c.ofIndex)
	c.few, c.many = tags(3), tags(1005)
	for _, image := range []v1.Image{c.image, c.ofIndex, other} {
		config, err := image.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c.blobs[digestOf(t, image.ConfigName)] = config
		for _, l := range layersOf(t, image) {
			c.blobs[digestOf(t, l.Digest)] = bytesOf(t, l)
		}
	}
	for _, l := range layersOf(t, c.image) {
		c.size += int64(len(bytesOf(t, l)))
	}
	return c
}

// tags are so many, sorted, with that of the image.
func tags(n int) []string {
	all := []string{imageTag}
	for i := range n - 1 {
		all = append(all, fmt.Sprintf("0.%d", i))
	}
	slices.Sort(all)
	return all
}

// push gives a registry all of it.
func (c *content) push(t *testing.T, to origin, tags []string) {
	t.Helper()
	to.Push(t, imageRepository, imageTag, c.image)
	to.PushIndex(t, indexRepository, indexTag, c.index)
	to.TagMany(t, imageRepository, imageTag, slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return tag == imageTag })...)
}

func layersOf(t *testing.T, image v1.Image) []v1.Layer {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// bytesOf are a layer's bytes as they were pushed.
func bytesOf(t *testing.T, l v1.Layer) []byte {
	t.Helper()
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(t *testing.T, digest func() (v1.Hash, error)) string {
	t.Helper()
	d, err := digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func manifestOf(t *testing.T, manifest func() ([]byte, error)) []byte {
	t.Helper()
	b, err := manifest()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
