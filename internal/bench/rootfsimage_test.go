package bench

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
)

// The images whose file systems are looked into. The first has a system below the
// layers of the big image, and the others the same files packed with a table of contents.
const (
	rootfsRepository  = "bench/rootfs"
	stargzRepository  = "bench/estargz"
	chunkedRepository = "bench/zstdchunked"
)

// What a system has here: the release that is looked at, and a program with what it
// is made of.
const (
	osRelease     = "etc/os-release"
	osReleaseText = "ID=bench\nVERSION_ID=1\n"
	program       = "usr/local/bin/program"
	// programPart is how large the program is, in hundredths of the plain image.
	programPart = 7
)

// rootfsImage pushes the image, and returns its layers. It may be there.
func (b *bench) rootfsImage(t *testing.T) []stored {
	t.Helper()
	layers := append(makeSystem(t, b.size), makeLayers(t, mixedLayers(1, b.size))...)
	b.pushOnce(t, rootfsRepository, layers)
	return layers
}

// pushOnce pushes an image that a comparison before may have pushed.
func (b *bench) pushOnce(t *testing.T, repository string, layers []stored) {
	t.Helper()
	if b.pushed[repository] {
		return
	}
	b.put(t, repository, layers)
	b.registry.Push(t, repository, bigTag, imageOf(t, runtime.GOARCH, layers))
	b.pushed[repository] = true
}

// makeSystem makes the layer that is below all others.
func makeSystem(t *testing.T, size int64) []stored {
	t.Helper()
	layer, err := keep(fmt.Sprintf("system-%d-v%d-%s", size, contentVersion, runtime.Version()), func(f *os.File) (stored, error) {
		m := newMaterial()
		return gzipped(f, func(archive *tar.Writer, _ *written) error {
			write := func(name string, mode, size int64, fill func() error) error {
				return errors.Join(archive.WriteHeader(&tar.Header{
					Name: name, Mode: mode, Size: size, ModTime: time.Unix(1700000000, 0), Format: tar.FormatUSTAR,
				}), fill())
			}
			length := int64(float64(size)*perByte) * programPart / 100
			return errors.Join(
				write(osRelease, 0o644, int64(len(osReleaseText)), func() error {
					_, err := io.WriteString(archive, osReleaseText)
					return err
				}),
				write(program, 0o755, length, func() error {
					random := seeded(9, size)
					for left := length; left > 0; left -= meanFile {
						if err := m.fill(archive, random, min(left, meanFile)); err != nil {
							return err
						}
					}
					return nil
				}),
			)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return []stored{layer}
}

// namesLayer makes a layer of so many small files, a hundred to a directory. Without
// content they are as small as files can be.
func namesLayer(t *testing.T, files int, content bool) stored {
	t.Helper()
	layer, err := keep(fmt.Sprintf("names-%d-%t-v%d-%s", files, content, contentVersion, runtime.Version()), func(f *os.File) (stored, error) {
		m, random := newMaterial(), seeded(4, int64(files))
		return gzipped(f, func(archive *tar.Writer, _ *written) error {
			for i := range files {
				size := int64(0)
				if content {
					size = random.Int64N(2 << 10)
				}
				if err := archive.WriteHeader(&tar.Header{
					Name: fmt.Sprintf("srv/%03d/%03d/%s-%d", i/100_000, i/100%1000, m.words[random.IntN(len(m.words))], i),
					Mode: 0o644, Size: size, ModTime: time.Unix(1700000000+int64(i), 0), Format: tar.FormatUSTAR,
				}); err != nil {
					return err
				}
				if err := m.fill(archive, random, size); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// stargzed is a layer packed so that it brings a table of contents: as eStargz does, or
// with zstd as zstd:chunked.
func stargzed(t *testing.T, layer stored, chunked bool) stored {
	t.Helper()
	kind := "estargz"
	if chunked {
		kind = "zstdchunked"
	}
	packed, err := keep(fmt.Sprintf("%s-%s-%s", layer.DigestOf[len("sha256:"):][:16], kind, runtime.Version()), func(f *os.File) (stored, error) {
		return stargzTo(f, layer, chunked)
	})
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func stargzTo(f *os.File, layer stored, chunked bool) (stored, error) {
	plain, size, err := inflated(layer.path)
	if err != nil {
		return stored{}, err
	}
	defer func() { _ = os.Remove(plain.Name()) }()
	defer func() { _ = plain.Close() }()
	annotations := map[string]string{}
	options := []estargz.Option{estargz.WithCompressionLevel(gzip.BestSpeed)}
	if chunked {
		options = append(options, estargz.WithCompression(struct {
			*zstdchunked.Compressor
			*zstdchunked.Decompressor
		}{&zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest, Metadata: annotations}, &zstdchunked.Decompressor{}}))
	}
	blob, err := estargz.Build(io.NewSectionReader(plain, 0, size), options...)
	if err != nil {
		return stored{}, err
	}
	annotations[estargz.TOCJSONDigestAnnotation] = blob.TOCDigest().String()
	packed := newWritten(f)
	if _, err := io.CopyBuffer(packed, struct{ io.Reader }{blob}, make([]byte, 1<<20)); err != nil {
		return stored{}, errors.Join(err, blob.Close())
	}
	return stored{
		DigestOf: packed.digest(), DiffIDOf: blob.DiffID().String(), Length: packed.size, Plain: size, Zstd: chunked, Annotations: annotations,
	}, blob.Close()
}

// inflated is a gzipped file without the compression, in a file that the caller removes.
func inflated(path string) (plain *os.File, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	unzip, err := gzip.NewReader(f)
	if err != nil {
		return nil, 0, err
	}
	if plain, err = os.CreateTemp(filepath.Dir(path), "new-"); err != nil {
		return nil, 0, err
	}
	if size, err = io.Copy(plain, unzip); err != nil {
		_ = plain.Close()
		_ = os.Remove(plain.Name())
	}
	return plain, size, err
}

// traceLength is how many files a program reads to start.
const traceLength = 200

// startTrace are the files that a program reads to start: itself, and libraries that lie
// beside each other by tens, all over one of the layers above.
func startTrace(t *testing.T, layer stored) []string {
	t.Helper()
	const neighbours = 10
	f, err := os.Open(layer.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	unzip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(unzip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	trace := []string{program}
	runs := min(traceLength/neighbours, len(names)/neighbours)
	for run := range runs {
		from := run * (len(names) / runs)
		trace = append(trace, names[from:from+neighbours]...)
	}
	return trace[:min(traceLength, len(trace))]
}

// sizes are those of an image: compressed and plain.
func sizes(layers []stored) (compressed, plain int64) {
	for _, l := range layers {
		compressed, plain = compressed+l.Length, plain+l.Plain
	}
	return compressed, plain
}
