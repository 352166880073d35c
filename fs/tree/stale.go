package tree

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// staleFor is how long what a tag meant last answers by itself after its registry
	// failed. It is longer than a failure is remembered that nothing helps with: those
	// who have an answer need not wait for a dead host every second.
	staleFor = 10 * time.Second
	// defaultStaleWait is how long a registry may take to say what a tag means while the
	// cache has an answer. One that honestly takes longer is slower than anybody
	// who walks over tags wants to wait.
	defaultStaleWait = 10 * time.Second
	// rememberedStale bounds how many tags are known to be served stale. One that is
	// forgotten is asked for a little sooner, and not shown.
	rememberedStale = 1024
)

// A StaleTag is a tag whose registry cannot say now what it means, and which
// means what it did.
type StaleTag struct {
	Reference string    // host/repository:tag
	Digest    string    // what it is taken for
	Confirmed time.Time // when the registry said so last
	Since     time.Time // when it failed to first
	Reason    string    // how it failed last
}

// stales are the tags that are served stale. It is safe for concurrent use.
type stales struct {
	mu   sync.Mutex
	tags *simplelru.LRU[tagKey, staleTag] // guarded by mu
}

type staleTag struct {
	record cache.Tag
	since  time.Time // when the first request failed
	at     time.Time // when the last did
	reason string
}

func newStales() *stales {
	tags, err := simplelru.NewLRU[tagKey, staleTag](rememberedStale, nil)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return &stales{tags: tags}
}

// add takes note of one more failure and says whether it is the first.
func (s *stales) add(key tagKey, record cache.Tag, now time.Time, reason string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.tags.Get(key)
	entry := staleTag{record, now, now, reason}
	if known {
		entry.since = before.since
	}
	s.tags.Add(key, entry)
	return !known
}

// end takes note that a registry answered, and says whether it had not before.
func (s *stales) end(key tagKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags.Remove(key)
}

func (s *stales) get(key tagKey) (staleTag, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags.Peek(key)
}

// Stale lists the tags that were served stale when they were looked at last and
// may still be, those that are so longest first; no more than a thousand.
func (t *Tree) Stale() []StaleTag {
	t.stales.mu.Lock()
	defer t.stales.mu.Unlock()
	list := []StaleTag{}
	for _, key := range t.stales.tags.Keys() {
		s, ok := t.stales.tags.Peek(key)
		if !ok || !within(s.record.Resolved, t.now(), t.opts.StaleIfError) || t.outdated(key, s) {
			continue
		}
		list = append(list, StaleTag{key.repository + ":" + key.tag, s.record.Digest.String(), s.record.Resolved, s.since, s.reason})
	}
	slices.SortFunc(list, func(a, b StaleTag) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Reference, b.Reference))
	})
	return list
}

// outdated says whether more was learned of a tag since: by another process, or by
// the request that was not waited for.
func (t *Tree) outdated(key tagKey, s staleTag) bool {
	learned, ok := t.tags.Peek(key)
	return ok && learned.Resolved.After(s.record.Resolved)
}

// stale is what a tag meant last, for a while after its registry failed to say
// what it means now: until it is asked again.
func (r *repository) stale(tag string) (resolution, bool) {
	s, ok := r.tree.stales.get(tagKey{r.name(), tag})
	if !ok || !within(s.at, r.tree.now(), staleFor) || r.refreshed(tag, s.at) || r.tree.outdated(tagKey{r.name(), tag}, s) {
		return resolution{}, false
	}
	return r.servable(s.record, s.at)
}

// servable is the answer of a record that is older than its TTL, where it was
// confirmed lately enough and its manifest is at hand. It is good until the
// registry, which failed at failed, is asked again.
func (r *repository) servable(record cache.Tag, failed time.Time) (resolution, bool) {
	if !within(record.Resolved, r.tree.now(), r.tree.opts.StaleIfError) {
		return resolution{}, false
	}
	m, ok := r.kept(record.Digest)
	until := record.Resolved.Add(r.tree.opts.StaleIfError)
	if again := failed.Add(staleFor); again.Before(until) {
		until = again
	}
	return resolution{manifest: m, until: until}, ok
}

// failing returns what a tag meant last, where that may answer in place of err.
// It is told: in the log when it begins, and by [Tree.Stale].
func (r *repository) failing(tag string, record cache.Tag, err error) (resolution, bool) {
	if isAnswer(err) || errors.Is(err, errClosed) {
		return resolution{}, false
	}
	now := r.tree.now()
	answer, ok := r.servable(record, now)
	if !ok {
		return resolution{}, false
	}
	if r.tree.stales.add(tagKey{r.name(), tag}, record, now, err.Error()) {
		r.tree.opts.Logger.Warn("the registry cannot say what a tag means; it is taken for what it was",
			"reference", r.name()+":"+tag, "digest", record.Digest.String(),
			"age", now.Sub(record.Resolved).Round(time.Second).String(), "error", err)
	}
	return answer, true
}

// answered takes note that the registry said what a tag means, or why it does not.
func (r *repository) answered(tag string) {
	if r.tree.stales.end(tagKey{r.name(), tag}) {
		r.tree.opts.Logger.Info("the registry answers again what a tag means", "reference", r.name()+":"+tag)
	}
}

// isAnswer says whether err is the registry's own word about what it was asked
// for: that it has no such thing, or that it does not give it to us. That it is
// asked too often, that it fails, or that nobody is there says nothing.
func isAnswer(err error) bool {
	var answered *registry.Error
	if !errors.As(err, &answered) {
		return false
	}
	switch answered.Status {
	case 408, 425, 429: // request timeout, too early, too many requests
		return false
	}
	return 400 <= answered.Status && answered.Status < 500
}
