package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// rememberedTags bounds how many resolved tags of a repository are in memory;
// the others are read from the store.
const rememberedTags = 4096

// A repository is what the tree knows of one repository: what its tags mean,
// and for how long.
type repository struct {
	tree    *Tree
	remote  *registry.Repository
	local   *cache.Repository
	flights *flights
	tags    *lru.Cache[string, cache.Tag]

	mu   sync.Mutex
	list *tagList // guarded by mu; nil until tags are listed
}

func newRepository(t *Tree, remote *registry.Repository) *repository {
	tags, err := lru.New[string, cache.Tag](rememberedTags)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return &repository{
		tree:    t,
		remote:  remote,
		local:   t.opts.Store.Repository(remote.Name()),
		flights: newFlights(t),
		tags:    tags,
	}
}

func (r *repository) name() string { return r.remote.Name() }

// manifest returns the manifest of a digest: from memory, from the store, or
// once from the registry.
func (r *repository) manifest(ctx context.Context, d registry.Digest) (cache.Manifest, error) {
	if m, ok := r.kept(d); ok {
		return m, nil
	}
	answer, err := r.flights.ask(ctx, d.String(), func(ctx context.Context) (resolution, error) {
		raw, err := r.remote.Manifest(ctx, d.String())
		if err != nil {
			return resolution{}, err
		}
		return resolution{manifest: r.keep(raw)}, nil
	})
	return answer.manifest, err
}

// kept returns a manifest that needs no request.
func (r *repository) kept(d registry.Digest) (cache.Manifest, bool) {
	key := manifestKey{r.name(), d}
	if m, ok := r.tree.manifests.get(key); ok {
		return m, true
	}
	m, err := r.local.Manifest(d)
	if err != nil {
		if !errors.Is(err, iofs.ErrNotExist) {
			r.tree.opts.Report(r.name()+"/digests/"+d.String(), err)
		}
		return cache.Manifest{}, false
	}
	r.tree.manifests.put(key, m)
	return m, true
}

// keep stores a manifest. A store that cannot take it is reported and costs a
// request next time, nothing else.
func (r *repository) keep(raw *registry.RawManifest) cache.Manifest {
	d := raw.Descriptor.Digest
	m, err := r.local.PutManifest(d, string(raw.Descriptor.MediaType), raw.Bytes)
	if err != nil {
		r.tree.opts.Report(r.name()+"/digests/"+d.String(), err)
		m = cache.Manifest{Digest: d, MediaType: string(raw.Descriptor.MediaType), Bytes: raw.Bytes, FirstSeen: r.tree.opts.Now()}
	}
	r.tree.manifests.put(manifestKey{r.name(), d}, m)
	r.tree.learn(r.name())
	return m
}

// resolve returns what a tag means and until when. A tag that was resolved
// within its TTL costs no request, one that is older a HEAD, an unknown one a
// GET.
func (r *repository) resolve(ctx context.Context, tag string) (cache.Manifest, time.Time, error) {
	if record, until, ok := r.fresh(tag); ok {
		m, err := r.manifest(ctx, record.Digest)
		return m, until, err
	}
	answer, err := r.flights.ask(ctx, "tag "+tag, func(ctx context.Context) (resolution, error) {
		m, err := r.ask(ctx, tag)
		if err != nil {
			r.forget(tag, err)
			return resolution{}, err
		}
		now := r.tree.opts.Now()
		record := cache.Tag{Digest: m.Digest, Resolved: now}
		r.tags.Add(tag, record)
		if err := r.local.PutTag(tag, record); err != nil {
			r.tree.opts.Report(r.name()+"/tags/"+tag, err)
		}
		return resolution{m, now.Add(r.tree.opts.TagTTL)}, nil
	})
	return answer.manifest, answer.until, err
}

// fresh returns the record of a tag that is within its TTL.
func (r *repository) fresh(tag string) (record cache.Tag, until time.Time, ok bool) {
	now := r.tree.opts.Now()
	record, ok = r.tags.Get(tag)
	if !ok || !now.Before(record.Resolved.Add(r.tree.opts.TagTTL)) {
		// Another process may have resolved it since.
		stored, err := r.local.Tag(tag)
		if err != nil {
			return cache.Tag{}, time.Time{}, false
		}
		r.tags.Add(tag, stored)
		record = stored
	}
	until = record.Resolved.Add(r.tree.opts.TagTTL)
	// A record from the future was made by a clock that has been set back since.
	return record, until, now.Before(until) && !record.Resolved.After(now)
}

// ask asks the registry what a tag means: with a HEAD where the manifest that
// it meant before is at hand, else with a GET.
func (r *repository) ask(ctx context.Context, tag string) (cache.Manifest, error) {
	if before, ok := r.tags.Get(tag); ok {
		if m, ok := r.kept(before.Digest); ok {
			d, err := r.remote.Resolve(ctx, tag)
			if err != nil {
				return cache.Manifest{}, err
			}
			if d.Digest == before.Digest {
				return m, nil
			}
			return r.manifest(ctx, d.Digest)
		}
	}
	raw, err := r.remote.Manifest(ctx, tag)
	if err != nil {
		return cache.Manifest{}, err
	}
	return r.keep(raw), nil
}

// forget drops the record of a tag that the registry says is gone.
func (r *repository) forget(tag string, err error) {
	if !errors.Is(err, iofs.ErrNotExist) {
		return
	}
	r.tags.Remove(tag)
	if err := r.local.DeleteTag(tag); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		r.tree.opts.Report(r.name()+"/tags/"+tag, err)
	}
}

// seen is when the image of a tag was first seen, as far as memory knows.
func (r *repository) seen(tag string) time.Time {
	if record, ok := r.tags.Peek(tag); ok {
		if m, ok := r.tree.manifests.get(manifestKey{r.name(), record.Digest}); ok {
			return m.FirstSeen
		}
	}
	return r.tree.started
}

// forPlatform returns the manifest that m stands for on the tree's platform: m
// itself where it is no index.
func (r *repository) forPlatform(ctx context.Context, m cache.Manifest) (cache.Manifest, error) {
	if !isIndex(mediaType(m)) {
		return m, nil
	}
	d, err := r.tree.opts.Platform.Select(m.Bytes)
	if err != nil {
		return cache.Manifest{}, fmt.Errorf("%s@%s: %w", r.name(), m.Digest, err)
	}
	resolved, err := r.manifest(ctx, d.Digest)
	if err != nil {
		return cache.Manifest{}, err
	}
	if int64(len(resolved.Bytes)) != d.Size {
		return cache.Manifest{}, fmt.Errorf("%s@%s: %d bytes, the index says %d: %w", r.name(), d.Digest, len(resolved.Bytes), d.Size, registry.ErrMismatch)
	}
	return resolved, nil
}
