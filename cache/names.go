package cache

import (
	"errors"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Names are the names that a cache directory knows, for who wants nothing else:
// looking at them makes, locks and changes nothing there, and a directory that
// does not exist knows none.
type Names struct{ dir string }

// NamesIn returns the names in a cache directory.
func NamesIn(dir string) Names { return Names{dir} }

// Repositories lists the repositories that anything is known of, in order.
func (n Names) Repositories() ([]string, error) {
	found, err := n.repositories(nil)
	return slices.Sorted(maps.Values(found)), err
}

// repositories returns the names of the repositories by the directories that
// stand for them. Those in known are not read again: a directory can stand for no
// other name.
func (n Names) repositories(known map[string]string) (map[string]string, error) {
	refs := filepath.Join(n.dir, "refs")
	entries, err := readDir(refs)
	if err != nil {
		return nil, err
	}
	found := make(map[string]string, len(entries))
	for _, e := range entries {
		if name, ok := known[e.Name()]; ok {
			found[e.Name()] = name
			continue
		}
		b, err := os.ReadFile(filepath.Join(refs, e.Name(), "name"))
		if err == nil && nameOf(string(b)) == e.Name() {
			found[e.Name()] = string(b)
		}
	}
	return found, nil
}

// Tags lists the tags of a repository that were resolved, in order.
func (n Names) Tags(repository string) ([]string, error) {
	entries, err := readDir(filepath.Join(n.dir, "refs", nameOf(repository), "tags"))
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, e := range entries {
		if tagName.MatchString(e.Name()) {
			tags = append(tags, e.Name())
		}
	}
	return tags, nil
}

// Digests lists the manifests kept of a repository, in order.
func (n Names) Digests(repository string) ([]v1.Hash, error) {
	entries, err := readDir(filepath.Join(n.dir, "refs", nameOf(repository), "digests"))
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

// readDir is os.ReadDir, to which a directory that does not exist is empty.
func readDir(dir string) ([]iofs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
