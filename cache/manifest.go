package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Manifest is a manifest or index, byte for byte.
type Manifest struct {
	Digest    v1.Hash
	MediaType string
	Bytes     []byte
	// FirstSeen is when this cache saw the digest first in this repository.
	FirstSeen time.Time
}

// manifestHead is the first line of a manifest's record; its bytes follow.
type manifestHead struct {
	MediaType string    `json:"mediaType"`
	FirstSeen time.Time `json:"firstSeen"`
}

func encodeManifest(m Manifest) ([]byte, error) {
	line, err := json.Marshal(manifestHead{m.MediaType, m.FirstSeen})
	if err != nil {
		return nil, err
	}
	return encodeRecord("manifest "+m.Digest.Hex, append(append(line, '\n'), m.Bytes...)), nil
}

// decodeManifest returns the manifest of a digest out of its record. That its
// bytes have the digest was checked before they were put: for a signed manifest
// of schema 1 it is not their SHA-256.
func decodeManifest(d v1.Hash, b []byte) (Manifest, error) {
	b, err := decodeRecord("manifest "+d.Hex, b)
	if err != nil {
		return Manifest{}, err
	}
	line, b, found := bytes.Cut(b, []byte("\n"))
	var head manifestHead
	if !found || json.Unmarshal(line, &head) != nil {
		return Manifest{}, errDamaged
	}
	return Manifest{Digest: d, MediaType: head.MediaType, Bytes: b, FirstSeen: head.FirstSeen}, nil
}

// Manifest returns a manifest that was put before. A miss, damage included, is
// io/fs.ErrNotExist.
func (r *Repository) Manifest(d v1.Hash) (Manifest, error) {
	if !validHex(d.Hex) {
		return Manifest{}, iofs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "digests", d.Hex))
	if err != nil {
		return Manifest{}, err
	}
	return decodeManifest(d, b)
}

// PutManifest keeps a manifest whose bytes were checked against d, and returns
// it with the time at which it was first seen.
func (r *Repository) PutManifest(d v1.Hash, mediaType string, b []byte) (Manifest, error) {
	if !validHex(d.Hex) {
		return Manifest{}, fmt.Errorf("manifest %s: not a sha256 digest", d)
	}
	if before, err := r.Manifest(d); err == nil && before.MediaType == mediaType && string(before.Bytes) == string(b) {
		return before, nil
	}
	m := Manifest{d, mediaType, b, r.store.opts.Now()}
	record, err := encodeManifest(m)
	if err != nil {
		return Manifest{}, err
	}
	return m, r.keep("digests", d.Hex, record)
}

// Digests lists the manifests kept of the repository.
func (r *Repository) Digests() ([]v1.Hash, error) { return NamesIn(r.store.dir).Digests(r.name) }

// Tags lists the tags that were resolved, in order.
func (r *Repository) Tags() ([]string, error) { return NamesIn(r.store.dir).Tags(r.name) }
