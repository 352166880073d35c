package bench

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"time"
)

// contentVersion changes when the same seeds come to mean other bytes.
const contentVersion = 2

// material is what files are made of: pieces of text, as programs and
// documents have it, and of noise, as what is compressed already. There is more
// of each than gzip looks back at.
type material struct {
	words       []string
	text, noise []byte
}

const (
	materialSize = 4 << 20
	// noisePart is how many of 100 files are noise.
	noisePart = 8
	// perByte is how large a layer is, as a multiple of what it is compressed to.
	perByte = 2.45
	// meanFile is the size of files, in the mean. Most are smaller.
	meanFile = 96 << 10
	// meanDirectory is how many files a directory has, in the mean: Debian's /usr has 7.5.
	meanDirectory = 7
)

// newMaterial makes the same each time.
func newMaterial() *material {
	random := rand.New(rand.NewPCG(1, 2))
	m := &material{noise: make([]byte, materialSize)}
	for range 8000 {
		word := make([]byte, 2+random.IntN(10))
		for i := range word {
			word[i] = "eeeetttaaooiinnsshhrrdlcumwfgypbvk_"[random.IntN(35)]
		}
		m.words = append(m.words, string(word))
	}
	common := rand.NewZipf(random, 1.25, 4, uint64(len(m.words)-1))
	for len(m.text) < materialSize {
		m.text = append(m.text, m.words[common.Uint64()]...)
		m.text = append(m.text, []string{" ", " ", " ", " ", ", ", "(", ") ", ".\n", "\n\t"}[random.IntN(9)]...)
	}
	_, _ = rand.NewChaCha8([32]byte{3}).Read(m.noise) // it never fails
	return m
}

// fill writes the content of a file.
func (m *material) fill(w io.Writer, random *rand.Rand, size int64) error {
	from := m.text
	if random.IntN(100) < noisePart {
		from = m.noise
	}
	for size > 0 {
		n := min(size, 4<<10+random.Int64N(28<<10))
		at := random.IntN(materialSize - 32<<10)
		if _, err := w.Write(from[at : at+int(n)]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// seeded are the random numbers of what has a seed and a size.
func seeded(seed uint64, size int64) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(size))) }

// written counts and digests what is written through it.
type written struct {
	to   io.Writer
	sum  hash.Hash
	size int64
}

func newWritten(to io.Writer) *written { return &written{to: to, sum: sha256.New()} }

func (w *written) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	_, _ = w.sum.Write(p[:n]) // it never fails
	w.size += int64(n)
	return n, err
}

// digest is what manifests call it.
func (w *written) digest() string { return fmt.Sprintf("sha256:%x", w.sum.Sum(nil)) }

// writeLayer writes a layer of about size compressed bytes, which follow from
// the seed: files of many sizes in a tar, gzipped. It returns what manifest and
// config say of the layer.
func (m *material) writeLayer(w io.Writer, seed uint64, size int64) (stored, error) {
	random := seeded(seed, size)
	total := int64(float64(size) * perByte)
	word := func() string { return m.words[random.IntN(len(m.words))] }
	parents := []string{"bin", "include", "lib", "libexec", "sbin", "share", "src"}
	return gzipped(w, func(archive *tar.Writer, plain *written) error {
		directory := ""
		for i := 0; plain.size < total; i++ {
			if i == 0 || random.IntN(meanDirectory) == 0 {
				directory = fmt.Sprintf("usr/%s/%s", parents[random.IntN(len(parents))], word())
			}
			length := min(int64(random.ExpFloat64()*random.ExpFloat64()*meanFile), total-plain.size)
			if err := archive.WriteHeader(&tar.Header{
				Name: fmt.Sprintf("%s/%s-%d", directory, word(), i), Mode: 0o644, Size: length,
				ModTime: time.Unix(1700000000, 0), Format: tar.FormatUSTAR,
			}); err != nil {
				return err
			}
			if err := m.fill(archive, random, length); err != nil {
				return err
			}
		}
		return nil
	})
}

// gzipped writes a layer of what write puts into its archive; plain is what that came to.
func gzipped(w io.Writer, write func(archive *tar.Writer, plain *written) error) (stored, error) {
	zipped := newWritten(w)
	compress, err := gzip.NewWriterLevel(zipped, gzip.BestSpeed)
	if err != nil {
		return stored{}, err
	}
	plain := newWritten(compress)
	archive := tar.NewWriter(plain)
	if err := errors.Join(write(archive, plain), archive.Close(), compress.Close()); err != nil {
		return stored{}, err
	}
	return stored{DigestOf: zipped.digest(), DiffIDOf: plain.digest(), Length: zipped.size, Plain: plain.size}, nil
}

// writeZeros writes a layer that is not compressed, of one file of zeros, into
// one that can have holes.
func writeZeros(w interface {
	io.Writer
	Truncate(size int64) error
}, seed uint64, size int64,
) (stored, error) {
	digest := newWritten(io.Discard)
	archive := tar.NewWriter(io.MultiWriter(w, digest))
	if err := archive.WriteHeader(&tar.Header{
		Name: fmt.Sprintf("zeros-%d", seed), Mode: 0o644, Size: size, ModTime: time.Unix(1700000000, 0), Format: tar.FormatGNU,
	}); err != nil {
		return stored{}, err
	}
	header, zeros := digest.size, make([]byte, 1<<20)
	total := header + (size+511)/512*512 + 1024 // two empty blocks end an archive
	for digest.size < total {
		if _, err := digest.Write(zeros[:min(total-digest.size, int64(len(zeros)))]); err != nil {
			return stored{}, err
		}
	}
	return stored{DigestOf: digest.digest(), DiffIDOf: digest.digest(), Length: total, Plain: total}, w.Truncate(total)
}
