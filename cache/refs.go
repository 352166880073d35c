package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Repository is what a store has of one repository. Making one costs nothing.
// It is safe for concurrent use.
type Repository struct {
	store *Store
	name  string
	dir   string
}

// A Manifest is a manifest or index, byte for byte.
type Manifest struct {
	Digest    v1.Hash
	MediaType string
	Bytes     []byte
	// FirstSeen is when this cache saw the digest first in this repository.
	FirstSeen time.Time
}

// A Tag is what a tag meant, and when that was learned.
type Tag struct {
	Digest   v1.Hash
	Resolved time.Time
}

// nameOf is the file name that stands for a repository's.
func nameOf(repository string) string {
	d := sha256.Sum256([]byte(repository))
	return hex.EncodeToString(d[:])
}

// Repository returns the repository called "host[:port]/path".
func (s *Store) Repository(name string) *Repository {
	return &Repository{s, name, filepath.Join(s.dir, "refs", nameOf(name))}
}

// Repositories lists the repositories that anything is known of.
func (s *Store) Repositories() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "refs"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, "refs", e.Name(), "name"))
		if err == nil && nameOf(string(b)) == e.Name() {
			names = append(names, string(b))
		}
	}
	slices.Sort(names)
	return names, nil
}

// begin makes the repository's directory.
func (r *Repository) begin(sub string) (string, error) {
	dir := filepath.Join(r.dir, sub)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := filepath.Join(r.dir, "name")
	if _, err := os.Lstat(name); err == nil {
		return dir, nil
	}
	return dir, writeFile(name, []byte(r.name), 0o600)
}

// manifestRecord is the first line of a manifest's file; the bytes follow. Their
// own sum, since the digest of a signed schema 1 manifest is not that of its
// bytes.
type manifestRecord struct {
	MediaType string    `json:"mediaType"`
	FirstSeen time.Time `json:"firstSeen"`
	SHA256    string    `json:"sha256"`
}

func encodeManifest(m Manifest) ([]byte, error) {
	own := sha256.Sum256(m.Bytes)
	line, err := json.Marshal(manifestRecord{m.MediaType, m.FirstSeen, hex.EncodeToString(own[:])})
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), m.Bytes...), nil
}

var errDamaged = fmt.Errorf("damaged record: %w", iofs.ErrNotExist)

func decodeManifest(b []byte) (Manifest, error) {
	end := slices.Index(b, '\n')
	if end < 0 {
		return Manifest{}, errDamaged
	}
	var record manifestRecord
	if err := json.Unmarshal(b[:end], &record); err != nil {
		return Manifest{}, errDamaged
	}
	m := Manifest{MediaType: record.MediaType, FirstSeen: record.FirstSeen, Bytes: b[end+1:]}
	own := sha256.Sum256(m.Bytes)
	if hex.EncodeToString(own[:]) != record.SHA256 {
		return Manifest{}, errDamaged
	}
	return m, nil
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
	m, err := decodeManifest(b)
	m.Digest = d
	return m, err
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
	dir, err := r.begin("digests")
	if err != nil {
		return Manifest{}, err
	}
	return m, writeFile(filepath.Join(dir, d.Hex), record, 0o600)
}

// Digests lists the manifests kept of the repository.
func (r *Repository) Digests() ([]v1.Hash, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, "digests"))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var digests []v1.Hash
	for _, e := range entries {
		if validHex(e.Name()) {
			digests = append(digests, v1.Hash{Algorithm: "sha256", Hex: e.Name()})
		}
	}
	return digests, nil
}

// tagRecord is the file of a tag.
type tagRecord struct {
	Digest   string    `json:"digest"`
	Resolved time.Time `json:"resolved"`
}

var (
	tagName   = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func validHex(s string) bool { return hexDigest.MatchString(s) }

func decodeTag(b []byte) (Tag, error) {
	var record tagRecord
	if err := json.Unmarshal(b, &record); err != nil {
		return Tag{}, errDamaged
	}
	d, err := v1.NewHash(record.Digest)
	if err != nil || !validHex(d.Hex) {
		return Tag{}, errDamaged
	}
	return Tag{d, record.Resolved}, nil
}

// Tag returns what was put for a tag. A miss, damage included, is
// io/fs.ErrNotExist.
func (r *Repository) Tag(tag string) (Tag, error) {
	if !tagName.MatchString(tag) {
		return Tag{}, iofs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "tags", tag))
	if err != nil {
		return Tag{}, err
	}
	return decodeTag(b)
}

// PutTag keeps what a tag means.
func (r *Repository) PutTag(tag string, t Tag) error {
	if !tagName.MatchString(tag) {
		return fmt.Errorf("tag %q: not a tag", tag)
	}
	b, err := json.Marshal(tagRecord{t.Digest.String(), t.Resolved})
	if err != nil {
		return err
	}
	dir, err := r.begin("tags")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, tag), b, 0o600)
}

// DeleteTag forgets a tag; one that is not kept is io/fs.ErrNotExist.
func (r *Repository) DeleteTag(tag string) error {
	if !tagName.MatchString(tag) {
		return iofs.ErrNotExist
	}
	return os.Remove(filepath.Join(r.dir, "tags", tag))
}
