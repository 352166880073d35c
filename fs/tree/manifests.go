package tree

import (
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/cache"
)

// manifestCount bounds how many manifests are kept in memory, for their fixed
// cost.
const manifestCount = 16 << 10

// manifests keeps the manifests that were used last in memory, so that walking
// through image directories reads no file twice. It is safe for concurrent use.
type manifests struct {
	limit int // set once: of bytes; ordinary ones have a few KiB, the largest 8 MiB

	mu    sync.Mutex
	kept  *simplelru.LRU[manifestKey, cache.Manifest] // guarded by mu
	bytes int                                         // guarded by mu; of what is in kept
}

// A manifestKey has the repository, since when a digest was first seen, and
// whether it may be seen at all, is a repository's matter.
type manifestKey struct {
	repository string
	digest     v1.Hash
}

func newManifests(limit int) *manifests {
	m := &manifests{limit: limit}
	kept, err := simplelru.NewLRU(manifestCount, func(_ manifestKey, evicted cache.Manifest) {
		m.bytes -= len(evicted.Bytes)
	})
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	m.kept = kept
	return m
}

func (m *manifests) get(k manifestKey) (cache.Manifest, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept.Get(k)
}

func (m *manifests) put(k manifestKey, manifest cache.Manifest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept.Remove(k) // calls the eviction function, so that bytes stays right
	m.kept.Add(k, manifest)
	m.bytes += len(manifest.Bytes)
	for m.bytes > m.limit {
		m.kept.RemoveOldest()
	}
}
