package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A Repository is what a store has of one repository. Making one costs nothing.
// It is safe for concurrent use.
type Repository struct {
	store *Store
	name  string
	dir   string
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
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // the directory was removed; it is made again by whoever writes
	}
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
	if b, err := os.ReadFile(name); err == nil && string(b) == r.name {
		return dir, nil
	}
	return dir, writeFile(name, []byte(r.name), 0o600)
}
