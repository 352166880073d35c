// Package layers stores the tar archives of an image's layers in each way in which
// people do, and makes images of them: for tests of what reads them. Its writers
// are those that people use, or follow the formats' descriptions, and share nothing
// with what is tested.
package layers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/containerd/stargz-snapshotter/estargz"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// A Layer is a layer as a registry has it.
type Layer struct {
	MediaType types.MediaType
	Blob      []byte
	DiffID    v1.Hash
	// Annotations are those of its descriptor.
	Annotations map[string]string
}

// An Encoding is a way to store a layer.
type Encoding struct {
	Name string
	// TOC says that the layer brings a table of contents. That of eStargz has times
	// in whole seconds, and neither has names that are not UTF-8.
	TOC bool
	// Seconds says that the table has times rounded to those.
	Seconds   bool
	mediaType types.MediaType
	encode    func(plain []byte) (stored, error)
}

// stored is what an archive comes to.
type stored struct {
	blob        []byte
	diffID      string // "" is the digest of the archive
	annotations map[string]string
}

// The encodings that images have.
var (
	// Gzip is three members, one after the other (RFC 1952, section 2.2).
	Gzip = Encoding{Name: "gzip", mediaType: types.OCILayer, encode: members}
	Zstd = Encoding{Name: "zstd", mediaType: types.OCILayerZStd, encode: func(plain []byte) (stored, error) {
		return stored{blob: frame(plain)}, nil
	}}
	Plain = Encoding{Name: "plain", mediaType: types.OCIUncompressedLayer, encode: func(plain []byte) (stored, error) {
		return stored{blob: plain}, nil
	}}
	// EStargz is what the library of stargz-snapshotter writes of the archive as it stands:
	// its Build, which sorts the entries and drops those that are there twice, would make
	// another layer.
	EStargz = Encoding{Name: "eStargz", TOC: true, Seconds: true, mediaType: types.OCILayer, encode: stargz}
	// ZstdChunked is what podman pushes.
	ZstdChunked = Encoding{Name: "zstd:chunked", TOC: true, mediaType: types.OCILayerZStd, encode: chunked}
)

// All are the encodings.
func All() []Encoding { return []Encoding{Gzip, Zstd, Plain, EStargz, ZstdChunked} }

// Encode stores an archive.
func (e Encoding) Encode(plain []byte) (Layer, error) {
	s, err := e.encode(plain)
	if err != nil {
		return Layer{}, fmt.Errorf("%s: %w", e.Name, err)
	}
	l := Layer{MediaType: e.mediaType, Blob: s.blob, DiffID: digestOf(plain), Annotations: s.annotations}
	if s.diffID != "" {
		l.DiffID, err = v1.NewHash(s.diffID)
	}
	return l, err
}

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func members(plain []byte) (stored, error) {
	var b bytes.Buffer
	piece := len(plain)/3 + 1
	for off := 0; off == 0 || off < len(plain); off += piece {
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			return stored{}, err
		}
		_, err = w.Write(plain[off:min(off+piece, len(plain))])
		if err := errors.Join(err, w.Close()); err != nil {
			return stored{}, err
		}
	}
	return stored{blob: b.Bytes()}, nil
}

// encoder makes frames. It is safe for concurrent use.
var encoder = func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // the option is none of those that can be wrong
	}
	return e
}()

// frame is bytes as a frame of zstd.
func frame(b []byte) []byte {
	if len(b) == 0 {
		return []byte("\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00") // EncodeAll makes none of nothing
	}
	return encoder.EncodeAll(b, nil)
}

func stargz(plain []byte) (stored, error) {
	var b bytes.Buffer
	w := estargz.NewWriterLevel(&b, gzip.BestSpeed)
	w.ChunkSize = 50_000
	if err := w.AppendTarLossLess(bytes.NewReader(plain)); err != nil {
		return stored{}, err
	}
	toc, err := w.Close()
	if err != nil {
		return stored{}, err
	}
	return stored{b.Bytes(), w.DiffID(), map[string]string{estargz.TOCJSONDigestAnnotation: toc.String()}}, nil
}
