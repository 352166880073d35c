package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A repository is what the tree asks about one repository. It has no state: what
// was learned is the tree's, so that any number of them may be made.
type repository struct {
	tree   *Tree
	remote *registry.Repository
	local  *cache.Repository
}

func (r *repository) name() string { return r.remote.Name() }

// manifest returns the manifest of a digest: from memory, from the store, or
// once from the registry.
func (r *repository) manifest(ctx context.Context, d registry.Digest) (cache.Manifest, error) {
	if m, ok := r.kept(d); ok {
		return m, nil
	}
	if r.tree.opts.Offline {
		return cache.Manifest{}, fmt.Errorf("get manifest %s@%s: %w", r.name(), d, ErrOffline)
	}
	if err := r.tree.pacer.admit(ctx, false); err != nil {
		return cache.Manifest{}, fmt.Errorf("get manifest %s@%s: %w", r.name(), d, err)
	}
	answer, err := r.tree.flights.ask(ctx, r.name()+"@"+d.String(), func(ctx context.Context) (resolution, error) {
		if m, ok := r.kept(d); ok {
			return resolution{manifest: m}, nil
		}
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
		r.reportLocal("digests/"+d.String(), err)
		return cache.Manifest{}, false
	}
	r.tree.manifests.put(key, m)
	return m, true
}

// keep stores a manifest. A store that cannot take it is reported; it costs a
// request next time, and the repository's place in listings.
func (r *repository) keep(raw *registry.RawManifest) cache.Manifest {
	d := raw.Descriptor.Digest
	m, err := r.local.PutManifest(d, string(raw.Descriptor.MediaType), raw.Bytes)
	if err != nil {
		r.reportLocal("digests/"+d.String(), err)
		m = ManifestOf(raw)
		m.FirstSeen = r.tree.now()
	}
	r.tree.manifests.put(manifestKey{r.name(), d}, m)
	return m
}

// reportLocal reports what the store could not do; that it does not have
// something is no failure.
func (r *repository) reportLocal(path string, err error) {
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		r.tree.opts.Report(r.name()+"/"+path, err)
	}
}

// index returns the entries of an index.
func (r *repository) index(m cache.Manifest) (*index, error) {
	if x, ok := r.tree.indexes.Get(m.Digest); ok {
		return x, nil
	}
	x, err := parseIndex(m.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", r.name(), m.Digest, err)
	}
	r.tree.indexes.Add(m.Digest, x)
	return x, nil
}

// entry returns the manifest of an entry of an index.
func (r *repository) entry(ctx context.Context, index cache.Manifest, e indexEntry) (cache.Manifest, error) {
	d, err := e.descriptor()
	if err != nil {
		return cache.Manifest{}, fmt.Errorf("%s@%s: %w", r.name(), index.Digest, err)
	}
	m, err := r.manifest(ctx, d.Digest)
	if err != nil {
		return cache.Manifest{}, err
	}
	return m, checkSize(r.name(), d, m)
}
