package tree

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// rememberedReferrers bounds the referrers in memory, of some 200 bytes each, and
	// rememberedSubjects what they refer to: mostly nothing refers to a digest.
	rememberedReferrers = 64 << 10
	rememberedSubjects  = 16 << 10
)

// knownReferrers are what refers to a digest, and when its registry failed to say
// that anew; the zero time is never.
type knownReferrers struct {
	cache.Referrers
	failed time.Time
}

// referrerLists keeps what refers to the digests that were looked at last. What is
// dropped is read from the store. It is safe for concurrent use.
type referrerLists struct {
	mu    sync.Mutex
	kept  *simplelru.LRU[manifestKey, knownReferrers] // guarded by mu
	count int                                         // guarded by mu; of referrers in all of kept
}

func newReferrerLists() *referrerLists {
	l := &referrerLists{}
	kept, err := simplelru.NewLRU(rememberedSubjects, func(_ manifestKey, dropped knownReferrers) {
		l.count -= len(dropped.Found)
	})
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	l.kept = kept
	return l
}

func (l *referrerLists) get(repository string, d registry.Digest) (knownReferrers, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Get(manifestKey{repository, d})
}

func (l *referrerLists) put(repository string, d registry.Digest, known knownReferrers) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := manifestKey{repository, d}
	l.kept.Remove(key) // calls the function above, so that count stays right
	l.kept.Add(key, known)
	l.count += len(known.Found)
	for l.count > rememberedReferrers && l.kept.Len() > 1 {
		l.kept.RemoveOldest()
	}
}
