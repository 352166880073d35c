package registrytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// repository is what a registry has under one name.
type repository struct {
	tags      map[string]v1.Hash
	manifests map[string]manifest // by digest
	blobs     map[string]blob     // by digest
}

type blob struct {
	content  io.ReaderAt
	size     int64
	modified time.Time
}

func (b blob) reader() io.ReadSeeker { return io.NewSectionReader(b.content, 0, b.size) }

// repository returns the repository of a name, made where it is missing. s.mu is
// held.
func (s *Server) repository(name string) *repository {
	r, ok := s.repositories[name]
	if !ok {
		r = &repository{tags: map[string]v1.Hash{}, manifests: map[string]manifest{}, blobs: map[string]blob{}}
		s.repositories[name] = r
	}
	return r
}

// DigestOf is the digest of b.
func DigestOf(b []byte) v1.Hash {
	d := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(d[:])}
}

// PutBlob adds a blob to a repository and returns its digest.
func (s *Server) PutBlob(repo string, b []byte) v1.Hash {
	d := DigestOf(b)
	s.PutBlobAs(repo, d, bytes.NewReader(b), int64(len(b)))
	return d
}

// PutBlobAs serves size bytes of content as the blob d, whether they are or not.
func (s *Server) PutBlobAs(repo string, d v1.Hash, content io.ReaderAt, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repository(repo).blobs[d.String()] = blob{content, size, time.Unix(1, 0)}
}

// DeleteBlob takes a blob out of a repository.
func (s *Server) DeleteBlob(repo string, d v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repository(repo).blobs, d.String())
}

// PutManifest adds a manifest or index and returns its digest. A tag that is not
// "" names it from now on.
func (s *Server) PutManifest(repo, tag string, mediaType types.MediaType, b []byte) v1.Hash {
	d := DigestOf(b)
	s.PutManifestAs(repo, d, mediaType, b)
	if tag != "" {
		s.Tag(repo, tag, d)
	}
	return d
}

// PutManifestAs serves b as the manifest d, whether it is or not.
func (s *Server) PutManifestAs(repo string, d v1.Hash, mediaType types.MediaType, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repository(repo).manifests[d.String()] = manifest{d, mediaType, b}
}

// Tag makes a tag name a manifest.
func (s *Server) Tag(repo, tag string, d v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repository(repo).tags[tag] = d
}

// Untag takes a tag away.
func (s *Server) Untag(repo, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repository(repo).tags, tag)
}

// Push adds an image with all its blobs and returns its digest.
func (s *Server) Push(t testing.TB, repo, tag string, image v1.Image) v1.Hash {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		d, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		body, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close() // all of it was read
		s.PutBlobAs(repo, d, bytes.NewReader(b), int64(len(b)))
	}
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	s.PutBlob(repo, config)
	return s.pushManifest(t, repo, tag, image)
}

// PushIndex adds an index with all its images and returns its digest.
func (s *Server) PushIndex(t testing.TB, repo, tag string, index v1.ImageIndex) v1.Hash {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		s.Push(t, repo, "", image)
	}
	return s.pushManifest(t, repo, tag, index)
}

func (s *Server) pushManifest(t testing.TB, repo, tag string, m interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
}) v1.Hash {
	t.Helper()
	b, err := m.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := m.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return s.PutManifest(repo, tag, mediaType, b)
}
