package tree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
	"github.com/ocidistfs/ocidistfs/registry"
)

// An openLayer is a layer whose entries are known, and whose plain bytes can be read.
type openLayer struct {
	tree  *rootfs.LayerTree
	plain readat.Reader
	blob  *openBlob
}

func (l *openLayer) Close() error { return l.blob.Close() }

// openLayers opens all layers of an image, as many at once as there are processors.
func (r *repository) openLayers(ctx context.Context, m cache.Manifest, report func(error), told func(more, all int64)) ([]*openLayer, error) {
	c, err := r.contents(m)
	if err != nil {
		return nil, err
	}
	var all int64
	for _, d := range c.layers {
		all += d.Size
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	diffIDs := r.diffIDs(ctx, c)
	layers, failures := make([]*openLayer, len(c.layers)), make([]error, len(c.layers))
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for n, d := range c.layers {
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			var diffID v1.Hash
			if n < len(diffIDs) {
				diffID = diffIDs[n]
			}
			layers[n], failures[n] = r.openLayer(ctx, d, diffID, report, func(more int64) {
				if told != nil {
					told(more, all)
				}
			})
			if failures[n] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	// Those that were ended by the first failure say less than it does.
	var failed error
	for _, err := range failures {
		if err != nil && (failed == nil || errors.Is(failed, context.Canceled)) {
			failed = err
		}
	}
	if failed != nil {
		for _, l := range layers {
			if l != nil {
				failed = errors.Join(failed, l.Close())
			}
		}
		return nil, failed
	}
	return layers, nil
}

// openLayer opens a layer and reads it once, or the table of contents that it brings.
func (r *repository) openLayer(ctx context.Context, d v1.Descriptor, diffID v1.Hash, report func(error), told func(more int64)) (l *openLayer, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	blob, err := r.openBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, blob.Close())
		}
	}()
	entry := func(e *rootfs.EntryError) { report(fmt.Errorf("layer %s: %w", d.Digest, e)) }
	index, err := rootfs.OpenTOC(ctx, d.Digest, blob, d.Annotations, entry)
	if errors.Is(err, rootfs.ErrNoTOC) {
		blob.Whole()
		index, err = rootfs.Pass(ctx, d.Digest, &inOrder{ctx: ctx, from: blob, told: told}, io.Discard, rootfs.PassOptions{DiffID: diffID, Report: entry})
	} else if err == nil {
		told(d.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	t, err := rootfs.NewLayerTree(index.Table, entry)
	if err != nil {
		return nil, fmt.Errorf("%s: layer %s: %w", r.name(), d.Digest, err)
	}
	return &openLayer{t, index.Plain(blob), blob}, nil
}

// diffIDs are the digests of the plain layers, as far as the config can be had and says so.
func (r *repository) diffIDs(ctx context.Context, c *contents) []registry.Digest {
	var config struct {
		RootFS struct {
			DiffIDs []v1.Hash `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if c.config.Size > maxConfig {
		return nil
	}
	b, err := r.readBlob(ctx, c.config)
	if err != nil || json.Unmarshal(b, &config) != nil || len(config.RootFS.DiffIDs) != len(c.layers) {
		return nil
	}
	return config.RootFS.DiffIDs
}

// inOrder reads a Reader from its beginning to its end.
type inOrder struct {
	ctx  context.Context // it lives for one pass
	from readat.Reader
	off  int64
	told func(more int64)
}

func (o *inOrder) Read(p []byte) (int, error) {
	n, err := o.from.ReadAt(o.ctx, p, o.off)
	o.off += int64(n)
	o.told(int64(n))
	return n, err
}
