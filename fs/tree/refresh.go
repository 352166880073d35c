package tree

import (
	"context"
	"strings"
	"sync"
	"time"
)

// A Refresher is a directory in or below which names are good for a while only.
// What is known by digest is good for ever, and no Refresher, but for what refers to
// it.
type Refresher interface {
	Dir
	// Refresh forgets what tags in and below the directory were resolved to, the
	// lists of tags, and failures, so that the next look at a name asks the
	// registry. It asks nobody itself. A request that is under way answers those
	// who wait for it, and nobody who comes later.
	Refresh(ctx context.Context) error
}

var (
	_ Refresher = rootDir{}
	_ Refresher = pathDir{}
	_ Refresher = tagsDir{}
)

func (d rootDir) Refresh(context.Context) error {
	d.tree.refresh(scope{below: true})
	return nil
}

func (d pathDir) Refresh(context.Context) error {
	name := d.host
	if d.path != "" {
		name += "/" + d.path
		// On Docker Hub the directory of a name is that of another repository.
		d.tree.refresh(scope{repository: d.repository()})
		d.tree.lists.drop(d.host) // the catalog, which is listed here as well
	}
	d.tree.refresh(scope{repository: name, below: true})
	return nil
}

func (d tagsDir) Refresh(context.Context) error {
	d.repo.tree.refresh(scope{repository: d.repo.name()})
	return nil
}

// A scope is what a refresh is about: a tag, all tags of a repository, or those
// of all repositories whose name begins with the components of repository, "" for
// every one. The tag that lists what refers to a digest, where there is no other list,
// stands for all that says so.
type scope struct {
	repository, tag string
	below           bool
}

// has says whether the scope has the repository, and in it some or all tags.
func (s scope) has(repository string) bool {
	switch {
	case s.repository == repository || s.below && s.repository == "":
		return true
	default:
		return s.below && strings.HasPrefix(repository, s.repository+"/")
	}
}

// names says whether the scope has a tag of its repository.
func (s scope) names(tag string) bool {
	if s.tag == "" || s.tag == tag {
		return true
	}
	rest, ok := strings.CutPrefix(tag, s.tag)
	return ok && (rest[0] == '.' || rest[0] == ' ') && IsReferrersTag(s.tag)
}

// asks says whether a question of flights is about something in the scope.
func (s scope) asks(question string) bool {
	if repository, _, byDigest := strings.Cut(question, "@"); byDigest {
		return s.tag == "" && s.has(repository)
	}
	// The host may have a port, a tag has no slash.
	i := strings.LastIndexByte(question, ':')
	return s.has(question[:i]) && s.names(question[i+1:])
}

// refresh makes the tree ask again about everything in the scope.
func (t *Tree) refresh(s scope) {
	t.refreshes.add(s, t.now(), max(t.opts.TagTTL, t.opts.ListTTL))
	t.flights.forget(s)
	t.lists.forget(s)
}

// refreshes are the moments before which nothing counts that was learned of a
// tag. Nothing is written for one: the records on disk are other mounts' too,
// and the digest in a record still makes the next request a HEAD.
type refreshes struct {
	mu sync.Mutex
	at map[scope]time.Time // guarded by mu
}

// rememberedRefreshes bounds them. Where there are more, all is refreshed.
const rememberedRefreshes = 1024

func (r *refreshes) add(s scope, now time.Time, ttl time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, at := range r.at {
		// What was learned before those is too old anyway.
		if !within(at, now, ttl) {
			delete(r.at, old)
		}
	}
	if len(r.at) >= rememberedRefreshes {
		clear(r.at)
		s = scope{below: true}
	}
	if r.at == nil {
		r.at = map[scope]time.Time{}
	}
	r.at[s] = now
}

// since returns the last refresh of a tag; the zero time is before all. One that
// is still to come was before the clock was set back, and says nothing.
func (r *refreshes) since(repository, tag string, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last time.Time
	for s, at := range r.at {
		if s.has(repository) && s.names(tag) && at.After(last) && !at.After(now) {
			last = at
		}
	}
	return last
}
