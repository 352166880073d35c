// Package imagetar lays an image out as one tar archive that every loader
// takes: Docker (old and new), podman, containerd, skopeo, crane and regctl,
// with the registry's digest kept wherever a loader can keep one.
//
// The archive is never built. Its headers and its small members are held in
// memory, its blobs are known by descriptor, and all offsets follow from the
// manifest: the size of the archive costs no request, and any part of it can be
// read alone. docs/image-tar.md describes the layout.
package imagetar

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// A Name is what an archive calls its image. The zero Name is that of an image
// known by digest alone.
type Name struct {
	Repository string // with its host, as in "docker.io/library/alpine"
	Tag        string
}

// String is "repository:tag", or nothing.
func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.Repository + ":" + n.Tag
}

// An Archive is the layout of one image's tarball. It is immutable and may be
// used from several goroutines at once.
type Archive struct {
	segments []Segment
	members  []Member
	blobs    []v1.Descriptor
	size     int64
}

// A Segment is a run of the archive's bytes: literal ones, or those of a blob.
type Segment struct {
	Literal []byte
	Blob    *v1.Descriptor // nil is Literal
}

// A Member is one entry of the archive.
type Member struct {
	Name   string
	Offset int64 // where its header begins
	Data   int64 // where its bytes begin
	Size   int64 // how many they are, without the padding to 512
}

// Size is the archive's length in bytes.
func (a *Archive) Size() int64 { return a.size }

// Segments lists what the archive is made of, in its order; blobs are those of
// [Archive.Blobs]. In an archive of [New] a layer begins at a multiple of 4096
// bytes. The caller must not change it.
func (a *Archive) Segments() []Segment { return a.segments }

// Members lists the entries in their order. The caller must not change it.
func (a *Archive) Members() []Member { return a.members }

// Blobs lists the blobs that the archive is made of besides manifests: configs
// and layers, each once, in the archive's order. The caller must not change it.
func (a *Archive) Blobs() []v1.Descriptor { return a.blobs }

// Reader returns the archive's bytes. blobs holds a reader for each of
// [Archive.Blobs], in that order and of the size that the descriptor gives. The
// result forwards Prefetch.
func (a *Archive) Reader(blobs []readat.Reader) (readat.Reader, error) {
	if len(blobs) != len(a.blobs) {
		return nil, fmt.Errorf("archive of %d blobs: %d readers", len(a.blobs), len(blobs))
	}
	parts := make([]readat.Reader, 0, len(a.segments))
	next := 0
	for _, s := range a.segments {
		if s.Blob == nil {
			parts = append(parts, readat.Bytes(s.Literal))
			continue
		}
		blob := blobs[next]
		next++
		if blob.Size() != s.Blob.Size {
			return nil, fmt.Errorf("blob %s: reader of %d bytes, descriptor says %d", s.Blob.Digest, blob.Size(), s.Blob.Size)
		}
		parts = append(parts, blob)
	}
	return readat.Concat(parts...), nil
}

// Write writes the archive from its beginning to its end. copyBlob writes one
// blob, all of it, and is called for each in the archive's order.
func (a *Archive) Write(ctx context.Context, w io.Writer, copyBlob func(context.Context, io.Writer, v1.Descriptor) error) error {
	for _, s := range a.segments {
		if s.Blob != nil {
			if err := copyBlob(ctx, w, *s.Blob); err != nil {
				return err
			}
			continue
		}
		if _, err := w.Write(s.Literal); err != nil {
			return err
		}
	}
	return nil
}
