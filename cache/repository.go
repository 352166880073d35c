package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	iofs "io/fs"
	"maps"
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

// Repositories lists the repositories that anything is known of, in order. A name
// is read once.
func (s *Store) Repositories() ([]string, error) {
	s.mu.Lock()
	known := s.names
	s.mu.Unlock()
	found, err := NamesIn(s.dir).repositories(known)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.names = found
	s.mu.Unlock()
	return slices.Sorted(maps.Values(found)), nil
}

// Put takes note of the repository, where nothing else is kept of it.
func (r *Repository) Put() error {
	_, err := r.begin("")
	return err
}

// begin makes a directory of the repository's.
func (r *Repository) begin(sub string) (string, error) {
	// Without its version nobody would know the directory again.
	if err := r.store.remake(); err != nil {
		return "", err
	}
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

// keep writes a file of the repository's.
func (r *Repository) keep(sub, name string, b []byte) error {
	for tries := 0; ; tries++ {
		dir, err := r.begin(sub)
		if err == nil {
			err = r.store.withRoom(func() error { return writeFile(filepath.Join(dir, name), b, 0o600) })
		}
		if tries == 0 && errors.Is(err, iofs.ErrNotExist) {
			continue // the directory was cleared in between
		}
		return err
	}
}
