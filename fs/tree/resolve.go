package tree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
)

// rememberedTags bounds how many resolved tags are in memory, of a few hundred
// bytes each; the others are read from the store.
const rememberedTags = 64 << 10

// A tagKey is a tag of a repository.
type tagKey struct{ repository, tag string }

// resolve returns what a tag means and until when. A tag that was resolved
// within its TTL costs no request, one that is older a HEAD, an unknown one a
// GET. Where the registry fails to answer it means what it did, for a while.
func (r *repository) resolve(ctx context.Context, tag string) (resolution, error) {
	if answer, ok := r.atHand(tag); ok {
		return answer, nil
	}
	if r.tree.opts.Offline {
		if answer, ok := r.lastKnown(tag); ok {
			return answer, nil
		}
		return resolution{}, fmt.Errorf("resolve %s:%s: %w", r.name(), tag, ErrOffline)
	}
	before, known := r.record(tag)
	if err := r.tree.pacer.admit(ctx, known); err != nil {
		if answer, ok := r.lastKnown(tag); ok {
			return answer, nil
		}
		return resolution{}, fmt.Errorf("resolve %s:%s: %w", r.name(), tag, err)
	}
	soon, cancel := ctx, context.CancelFunc(func() {})
	if _, ok := r.servable(before, r.tree.now()); ok {
		soon, cancel = context.WithTimeoutCause(ctx, r.tree.staleWait, errTooSlow)
	}
	defer cancel()
	answer, err := r.tree.flights.ask(soon, r.name()+":"+tag, func(ctx context.Context) (resolution, error) {
		if answer, ok := r.atHand(tag); ok {
			return answer, nil
		}
		asked := r.tree.now()
		m, err := r.ask(ctx, tag)
		if err != nil {
			if isAbsent(err) {
				r.forget(tag)
			}
			if isAnswer(err) {
				r.answered(tag)
			} else if answer, ok := r.failing(tag, before, err); ok {
				return answer, nil
			}
			return resolution{}, err
		}
		r.answered(tag)
		record := cache.Tag{Digest: m.Digest, Resolved: r.tree.now()}
		if r.refreshed(tag, asked) {
			record.Resolved = asked // the answer is from before
		}
		r.tree.tags.Add(tagKey{r.name(), tag}, record)
		r.reportLocal("tags/"+tag, r.local.PutTag(tag, record))
		return resolution{manifest: m, until: r.until(tag, record)}, nil
	})
	if errors.Is(err, errTooSlow) {
		// The request goes on: what it brings is there for those who come later.
		if stale, ok := r.failing(tag, before, err); ok {
			return stale, nil
		}
	}
	return answer, err
}

// errTooSlow ends the wait for a request that there is a stale answer for.
var errTooSlow = fmt.Errorf("no answer soon enough: %w", context.DeadlineExceeded)

// atHand returns what a tag means where nobody has to be asked now.
func (r *repository) atHand(tag string) (resolution, bool) {
	if answer, ok := r.fresh(tag); ok {
		return answer, true
	}
	return r.stale(tag)
}

// fresh returns what a tag means where that needs no request: it is within its
// TTL, and the manifest is at hand. Where that was lost the tag is asked again,
// not the digest: the registry may not have that any more.
func (r *repository) fresh(tag string) (resolution, bool) {
	record, ok := r.record(tag)
	if !ok || !r.current(tag, record) {
		return resolution{}, false
	}
	m, ok := r.kept(record.Digest)
	return resolution{manifest: m, until: r.until(tag, record)}, ok
}

// current says whether a record answers without a request: it is within its TTL,
// and of after the last refresh.
func (r *repository) current(tag string, record cache.Tag) bool {
	return within(record.Resolved, r.tree.now(), r.tree.opts.TagTTL) && !r.refreshed(tag, record.Resolved)
}

// refreshed says whether the tag was refreshed at or after a time.
func (r *repository) refreshed(tag string, t time.Time) bool {
	last := r.tree.refreshes.since(r.name(), tag, r.tree.now())
	return !last.IsZero() && !t.After(last)
}

// until is when a record stops answering.
func (r *repository) until(tag string, record cache.Tag) time.Time {
	if r.refreshed(tag, record.Resolved) {
		return record.Resolved
	}
	return record.Resolved.Add(r.tree.opts.TagTTL)
}

// record returns what a tag meant when it was resolved last: by this process or,
// where that is long ago, by another that has the same store.
func (r *repository) record(tag string) (cache.Tag, bool) {
	key := tagKey{r.name(), tag}
	record, ok := r.tree.tags.Get(key)
	if ok && r.current(tag, record) {
		return record, true
	}
	stored, err := r.local.Tag(tag)
	if err != nil {
		r.reportLocal("tags/"+tag, err)
		return record, ok
	}
	if ok && stored.Resolved.Before(record.Resolved) {
		return record, true // the store could not take what is newer
	}
	r.tree.tags.Add(key, stored)
	return stored, true
}

// ask asks the registry what a tag means: with a HEAD where the manifest that
// it meant before is at hand, with a GET where it is not or the tag has moved.
func (r *repository) ask(ctx context.Context, tag string) (cache.Manifest, error) {
	if before, ok := r.record(tag); ok {
		if _, ok := r.kept(before.Digest); ok {
			d, err := r.remote.Resolve(ctx, tag)
			if err != nil {
				return cache.Manifest{}, err
			}
			if m, ok := r.kept(d.Digest); ok {
				return m, nil
			}
		}
	}
	// By tag, although the digest may be known by now: only of the tag does "not
	// found" say that it is gone.
	raw, err := r.remote.Manifest(ctx, tag)
	if err != nil {
		return cache.Manifest{}, err
	}
	return r.keep(raw), nil
}

// forget drops the record of a tag that the registry says is gone.
func (r *repository) forget(tag string) {
	r.tree.tags.Remove(tagKey{r.name(), tag})
	r.reportLocal("tags/"+tag, r.local.DeleteTag(tag))
}

// seen is when the image of a tag was first seen, as far as memory knows, and for
// how long that stands.
func (r *repository) seen(tag string) (time.Time, time.Duration) {
	if record, ok := r.tree.tags.Peek(tagKey{r.name(), tag}); ok {
		if m, ok := r.tree.manifests.get(manifestKey{r.name(), record.Digest}); ok {
			return m.FirstSeen, r.tree.left(r.until(tag, record))
		}
	}
	return r.tree.started, 0
}
