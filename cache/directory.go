package cache

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// layoutVersion changes when an older program could misread the directory.
	layoutVersion = "1\n"
	// cacheTag marks the directory for backup programs (bford.info/cachedir).
	cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of ocidistfs; it may be removed when nothing uses it.\n"

	ociLayout = `{"imageLayoutVersion":"1.0.0"}`
	// An index that lists nothing: no image of it can ever lack a blob.
	ociIndex = `{"schemaVersion":2,"manifests":[]}`

	// lockName is the file of which bytes are locked. Where it is missing the directory
	// was removed, and perhaps replaced by another.
	lockName = "lock"

	// unfinished begins the names of files that are being written.
	unfinished = ".new-"
)

func (s *Store) blobPath(d v1.Hash) string { return filepath.Join(s.dir, "blobs", "sha256", d.Hex) }
func (s *Store) sumsPath(d v1.Hash) string { return filepath.Join(s.dir, "sums", "sha256", d.Hex) }
func (s *Store) partialPath(repository string, d v1.Hash) string {
	return filepath.Join(s.dir, "partial", nameOf(repository), d.Hex)
}

// prepare makes what a cache directory holds. The version goes first: a
// directory that has something and no version is somebody else's.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkOurs(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // one that was there may be open to all
		return err
	}
	for _, file := range []struct{ name, content string }{
		{"version", layoutVersion}, {"CACHEDIR.TAG", cacheTag}, {"oci-layout", ociLayout}, {"index.json", ociIndex},
	} {
		path := filepath.Join(dir, file.name)
		if b, err := os.ReadFile(path); err == nil && string(b) == file.content {
			continue
		}
		if err := writeFile(path, []byte(file.content), 0o600); err != nil {
			return err
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	for _, sub := range []string{"blobs/sha256", "sums/sha256", "partial", "refs", "layers/sha256"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// errRefused is a directory that is not to be used as a cache.
var errRefused = errors.New("use another directory")

// isRefused says whether an error of prepare is that a directory is not to be used,
// and not that it cannot be.
func isRefused(err error) bool {
	return errors.Is(err, errRefused) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EEXIST)
}

// checkOurs refuses a directory that is not a cache, or one that this program
// does not know: it is about to be closed to others and filled.
func checkOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	version, err := os.ReadFile(filepath.Join(dir, "version"))
	if errors.Is(err, iofs.ErrNotExist) {
		if leftOver(entries) {
			return nil
		}
		for _, e := range entries {
			// What another process is about to rename, and what mkfs leaves.
			if !strings.HasPrefix(e.Name(), unfinished) && e.Name() != "lost+found" {
				return fmt.Errorf("it is not empty and not a cache (it has %q); %w", e.Name(), errRefused)
			}
		}
		return nil
	}
	if err == nil && string(version) != layoutVersion {
		err = fmt.Errorf("its layout has version %q, this program knows %q; %w or remove it",
			strings.TrimSpace(string(version)), strings.TrimSpace(layoutVersion), errRefused)
	}
	return err
}

// leftOver says whether a directory is what is left of one of ours that was removed
// while a mount went on to write to it. One with blobs alone, or an OCI layout, may be
// anybody's.
func leftOver(entries []iofs.DirEntry) bool {
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
		if !slices.Contains([]string{"blobs", "sums", "partial", "refs", "layers", lockName, "CACHEDIR.TAG"}, e.Name()) {
			return false
		}
	}
	return len(entries) > 0 && (!names["blobs"] || names["sums"])
}

// remake makes the directory anew where it was removed.
func (s *Store) remake() error {
	if _, err := os.Lstat(filepath.Join(s.dir, "version")); errors.Is(err, iofs.ErrNotExist) {
		return prepare(s.dir)
	}
	return nil
}

// onDisk says of an error that it is of the cache directory. That a blob is not
// what it should be is not, nor that the store was closed.
func (s *Store) onDisk(err error) error {
	if errors.Is(err, ErrMismatch) || errors.Is(err, errClosed) {
		return err
	}
	return diskError{s.dir, err}
}

// A diskError is one of the cache directory. It is errUnkept as well: what cannot be
// kept or found there is read without it.
type diskError struct {
	dir string
	err error
}

func (e diskError) Error() string        { return fmt.Sprintf("cache directory %s: %v", e.dir, e.err) }
func (e diskError) Unwrap() error        { return e.err }
func (e diskError) Is(target error) bool { return target == errUnkept }

// writeFile replaces a file so that others see the old or the new one: written
// under another name, then renamed. It is not synced: what a crash leaves of it
// fails its checks and is a miss.
func writeFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
