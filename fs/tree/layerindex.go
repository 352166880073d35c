package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"sync"
	"weak"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
)

// A layerIndex is what is known of a layer: its entries, and where its bytes are. It is
// immutable, and shared by all images that have the layer.
type layerIndex struct {
	id    cache.LayerID
	index *rootfs.Index
	tree  *rootfs.LayerTree
	kept  *cache.Layer // what is on disk of it
	bytes int          // that it takes in memory, about
	// fetched says that all of the layer was read in this process, and not from disk.
	fetched bool
}

// layerIndexes remembers what is known of layers: of those that somebody holds, and of
// others as far as the memory goes. It is safe for concurrent use.
type layerIndexes struct {
	mu    sync.Mutex
	all   map[cache.LayerID]weak.Pointer[layerIndex] // guarded by mu
	last  *simplelru.LRU[cache.LayerID, *layerIndex] // guarded by mu; those used last
	bytes int                                        // guarded by mu; of last
	limit int
}

// rememberedLayers bounds how many layers are remembered beside what their bytes do.
const rememberedLayers = 4096

func newLayerIndexes(limit int) *layerIndexes {
	x := &layerIndexes{all: map[cache.LayerID]weak.Pointer[layerIndex]{}, limit: limit}
	last, err := simplelru.NewLRU(rememberedLayers, func(_ cache.LayerID, l *layerIndex) { x.bytes -= l.bytes })
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	x.last = last
	return x
}

// get returns what is known of a layer, or nil.
func (x *layerIndexes) get(id cache.LayerID) *layerIndex {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.all[id].Value()
	if l != nil {
		x.use(l)
	}
	return l
}

// put takes note of what is known of a layer.
func (x *layerIndexes) put(l *layerIndex) {
	x.mu.Lock()
	defer x.mu.Unlock()
	sweepWeak(x.all)
	x.all[l.id] = weak.Make(l)
	x.use(l)
}

// use makes a layer the one that was used last. x.mu is held.
func (x *layerIndexes) use(l *layerIndex) {
	if known, ok := x.last.Get(l.id); ok {
		if known == l {
			return
		}
		x.last.Remove(l.id)
	}
	x.last.Add(l.id, l)
	x.bytes += l.bytes
	for x.bytes > x.limit {
		x.last.RemoveOldest()
	}
}

// layerIDs are the names under which a layer may be known: by its table of contents where it
// brings one, and by all that is in it.
func layerIDs(d v1.Descriptor) []cache.LayerID {
	whole := cache.LayerID{Blob: d.Digest}
	if toc := rootfs.TOCDigest(d.Annotations); toc != (v1.Hash{}) {
		return []cache.LayerID{{Blob: d.Digest, TOC: toc}, whole}
	}
	return []cache.LayerID{whole}
}

// bytesOfEntry is about what an entry takes in a rootfs.LayerTree besides its name.
const bytesOfEntry = 48

// newLayerIndex is what an index says. size is how long that is on disk, in bytes.
func newLayerIndex(id cache.LayerID, kept *cache.Layer, index *rootfs.Index, size int64, report func(*rootfs.EntryError)) (*layerIndex, error) {
	t, err := rootfs.NewLayerTree(index.Table, report)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", id.Blob, err)
	}
	return &layerIndex{id: id, index: index, tree: t, kept: kept, bytes: int(size) + t.Len()*bytesOfEntry}, nil
}

// storedIndex returns what the store knows of a layer, or nil.
func (r *repository) storedIndex(id cache.LayerID, report func(*rootfs.EntryError)) *layerIndex {
	kept := r.tree.opts.Store.Layer(id)
	b, err := kept.Index()
	if err == nil {
		var index *rootfs.Index
		if index, err = rootfs.ParseIndex(b, id.Blob); err == nil {
			var l *layerIndex
			if l, err = newLayerIndex(id, kept, index, int64(len(b)), report); err == nil {
				return l
			}
		}
		err = errors.Join(err, kept.DropIndex())
	}
	if !errors.Is(err, iofs.ErrNotExist) {
		r.tree.opts.Logger.Warn("the index of a layer is of no use; the layer is read again", "digest", id.Blob.String(), "error", err)
	}
	return nil
}

// readIndex reads all of a layer. told is told how many more compressed bytes came.
func (r *repository) readIndex(ctx context.Context, d v1.Descriptor, report func(*rootfs.EntryError), told func(more int64)) (l *layerIndex, err error) {
	blob, err := r.openBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := blob.Close(); err == nil {
			err = failed
		}
	}()
	fetched := r.local.Kept(d.Digest) < d.Size
	blob.Whole()
	id := cache.LayerID{Blob: d.Digest}
	kept := r.tree.opts.Store.Layer(id)
	fill := kept.Fill()
	defer func() {
		if failed := fill.Close(); err == nil {
			err = failed
		}
	}()
	index, err := rootfs.Pass(ctx, d.Digest, &inOrder{ctx: ctx, from: blob, told: told}, fill, rootfs.PassOptions{Report: report})
	if err != nil {
		return nil, err
	}
	size := &counted{of: index}
	if err := fill.Keep(size); err != nil {
		return nil, err
	}
	if l, err = newLayerIndex(id, kept, index, size.n, report); err == nil {
		l.fetched = fetched
	}
	return l, err
}

// readTOC reads the table of contents of a layer. came is called when bytes of it have come. The
// error is [rootfs.ErrNoTOC] where that is of no use.
func (r *repository) readTOC(ctx context.Context, id cache.LayerID, d v1.Descriptor, report func(*rootfs.EntryError), came func()) (l *layerIndex, err error) {
	// The table and nothing else: chunks of each layer would be ten times as much.
	blob := r.local.Blob(d.Digest, d.Size, r.fetcher(d)).Direct()
	defer func() {
		if failed := blob.Close(); err == nil {
			err = failed
		}
	}()
	index, err := rootfs.OpenTOC(ctx, d.Digest, heard{blob, came}, d.Annotations, report)
	if err != nil {
		return nil, err
	}
	kept := r.tree.opts.Store.Layer(id)
	size := &counted{of: index}
	if err := kept.PutIndex(size); err != nil {
		return nil, err
	}
	return newLayerIndex(id, kept, index, size.n, report)
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

// heard says when bytes of a Reader have come.
type heard struct {
	readat.Reader
	came func()
}

func (h heard) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := h.Reader.ReadAt(ctx, p, off)
	if n > 0 {
		h.came()
	}
	return n, err
}

// counted counts what is written of an index.
type counted struct {
	of io.WriterTo
	n  int64 // the last time
}

func (c *counted) WriteTo(w io.Writer) (n int64, err error) {
	c.n, err = c.of.WriteTo(w)
	return c.n, err
}
