package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layersDir keeps what was made from one run to the next; make clean removes it.
const layersDir = "../../dist/bench"

// stored is a layer in a file, with what manifest and config say of it.
type stored struct {
	DigestOf, DiffIDOf string
	Length, Plain      int64
	Zeros              bool              // it is not compressed
	Zstd               bool              // with that, and else with gzip
	Annotations        map[string]string // of its descriptor
	path               string            // set by whoever reads or writes the file
}

var _ v1.Layer = stored{}

// Digest, DiffID, Size and MediaType are of v1.Layer, as the next two, which
// nobody calls: the registry has the blob before the image is pushed.
func (s stored) Digest() (v1.Hash, error) { return v1.NewHash(s.DigestOf) }
func (s stored) DiffID() (v1.Hash, error) { return v1.NewHash(s.DiffIDOf) }
func (s stored) Size() (int64, error)     { return s.Length, nil }
func (s stored) MediaType() (types.MediaType, error) {
	switch {
	case s.Zeros:
		return types.OCIUncompressedLayer, nil
	case s.Zstd:
		return types.OCILayerZStd, nil
	}
	return types.OCILayer, nil
}
func (s stored) Compressed() (io.ReadCloser, error)   { return os.Open(s.path) }
func (s stored) Uncompressed() (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// A layerSpec is what a layer follows from.
type layerSpec struct {
	seed  uint64
	size  int64 // compressed
	zeros bool
}

// make returns the layer.
func (s layerSpec) make(m *material) (stored, error) {
	if s.zeros {
		return keep(fmt.Sprintf("%d-%d-v%d-zeros", s.seed, s.size, contentVersion), func(f *os.File) (stored, error) {
			layer, err := writeZeros(f, s.seed, s.size)
			layer.Zeros = true
			return layer, err
		})
	}
	return keep(fmt.Sprintf("%d-%d-v%d-%s", s.seed, s.size, contentVersion, runtime.Version()), func(f *os.File) (stored, error) {
		return m.writeLayer(f, s.seed, s.size)
	})
}

// keep returns a layer of a name, which may be there from an earlier run, or else what
// write makes of an empty file. Compressed bytes are what this version of Go makes.
func keep(name string, write func(f *os.File) (stored, error)) (layer stored, err error) {
	dir, err := filepath.Abs(layersDir)
	if err != nil {
		return stored{}, err
	}
	path := filepath.Join(dir, name)
	note := path + ".json" // written last: where it is, the layer is whole
	if b, err := os.ReadFile(note); err == nil && json.Unmarshal(b, &layer) == nil {
		if info, err := os.Stat(path); err == nil && info.Size() == layer.Length {
			layer.path = path
			return layer, nil
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return stored{}, err
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return stored{}, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if layer, err = write(f); err != nil {
		return stored{}, err
	}
	layer.path = path
	b, err := json.Marshal(layer)
	if err != nil {
		return stored{}, err
	}
	return layer, errors.Join(f.Chmod(0o444), os.Rename(f.Name(), path), os.WriteFile(note, b, 0o644))
}

// makeLayers makes all, as many at once as there are processors.
func makeLayers(t *testing.T, specs []layerSpec) []stored {
	t.Helper()
	m := newMaterial()
	layers, failures := make([]stored, len(specs)), make([]error, len(specs))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				layers[i], failures[i] = specs[i].make(m)
			}
		})
	}
	for i := range specs {
		next <- i
	}
	close(next)
	workers.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
	return layers
}

// parts are the layers of an image, in thousandths of its size: a base, what a
// distribution and a language add to it, and the many small ones of a build.
var parts = []int64{80, 400, 20, 250, 5, 150, 40, 1, 1, 10, 2, 20, 5, 1, 10, 5}

// smallLayers are besides those, of this many bytes each.
const smallLayers, smallLayer = 6, 3000

// mixedLayers are the layers of an image of about that size.
func mixedLayers(seed uint64, size int64) []layerSpec {
	var specs []layerSpec
	for i, part := range parts {
		specs = append(specs, layerSpec{seed: seed*1000 + uint64(i), size: size * part / 1000})
	}
	for i := range smallLayers {
		specs = append(specs, layerSpec{seed: seed*1000 + 500 + uint64(i), size: smallLayer})
	}
	return specs
}

// imageOf makes an image for a platform of layers.
func imageOf(t *testing.T, architecture string, layers []stored) v1.Image {
	t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	adds := make([]mutate.Addendum, len(layers))
	for i, l := range layers {
		media, _ := l.MediaType() // it never fails
		adds[i] = mutate.Addendum{Layer: l, MediaType: media, Annotations: l.Annotations, History: v1.History{CreatedBy: "bench"}}
	}
	image, err := mutate.Append(image, adds...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}
