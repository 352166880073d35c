package tree

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/rootfs"
	"github.com/ocidistfs/ocidistfs/registry"
)

// errNoFiles is why an image has no rootfs: one of its layers is no archive, is encrypted, or
// is found elsewhere than in registries.
const errNoFiles absence = "its files are not all in layers that a registry has"

// hasRootfs is nil for the manifest of an image whose files can be shown, or why they
// cannot. It asks nobody: a layer is what its media type says that it is.
func (r *repository) hasRootfs(m cache.Manifest) error {
	if err := imageOnly(m); err != nil {
		return fmt.Errorf("%s@%s: %w", r.name(), m.Digest, err)
	}
	c, err := r.contents(m)
	if err != nil {
		return err
	}
	if len(c.layers) > maxLayers {
		return fmt.Errorf("%s@%s: %w: it has %d layers, and %d are laid over each other at most", r.name(), m.Digest, errNoFiles, len(c.layers), maxLayers)
	}
	for _, d := range c.layers {
		if !isArchive(d) {
			return fmt.Errorf("%s@%s: %w: layer %s is %.80q", r.name(), m.Digest, errNoFiles, d.Digest, d.MediaType)
		}
	}
	return nil
}

const (
	// maxLayers is how many layers an image may have whose files are shown; a manifest could
	// have 30,000. overlayfs takes 500, docker 127.
	maxLayers = 1000
	// defaultImageBytes are those of 10,000,000 files, about.
	defaultImageBytes = 1 << 30
)

// isArchive says whether a layer is an archive of files that a registry has. How that is
// compressed its first bytes say.
func isArchive(d v1.Descriptor) bool {
	t := string(d.MediaType)
	if len(d.URLs) > 0 || strings.Contains(t, "nondistributable") || strings.Contains(t, "foreign") {
		return false
	}
	switch extension(d.MediaType) {
	case ".tar", ".tar.gz", ".tar.zst":
		return true
	}
	return false
}

// A rootfsImage is what is in an image: its layers laid over each other. The nodes of it
// hold on to it, and nobody else does; a second one of the same image is as good. It is
// safe for concurrent use.
type rootfsImage struct {
	repo   *repository
	digest registry.Digest // of the manifest
	config v1.Descriptor
	layers []v1.Descriptor // the lowest first
	order  []int           // in which layers are read: see readOrder
	seen   time.Time       // when the image was first seen
	ino    uint64          // what the inode numbers of it follow from
	// generation is for the image what ino is, and another number.
	generation uint64
	files      *rootfs.Stack
	opened     []atomic.Pointer[layerIndex] // of the layers that were needed
	bytes      atomic.Int64                 // that these take in memory
	said       atomic.Pointer[layerConfig]  // what the config says, once it was read
	ask        sync.Once                    // for the config
	asked      chan struct{}                // closed when there was an answer, or none in time
}

// rootfsKey names what is in an image.
type rootfsKey struct {
	repository string
	digest     registry.Digest
}

// rootfsOf returns the root directory of what is in an image. It reads nothing. The error
// is that of [repository.hasRootfs].
func (r *repository) rootfsOf(m cache.Manifest) (Node, error) {
	if err := r.hasRootfs(m); err != nil {
		return nil, err
	}
	image, err := r.rootfsImage(m)
	if err != nil {
		return nil, err
	}
	return image.node(image.files.Root()), nil
}

// rootfsImage returns what is in an image, the same for all who hold on to it.
func (r *repository) rootfsImage(m cache.Manifest) (*rootfsImage, error) {
	c, err := r.contents(m)
	if err != nil {
		return nil, err
	}
	t := r.tree
	key := rootfsKey{r.name(), m.Digest}
	t.mu.Lock()
	defer t.mu.Unlock()
	image := t.rootfses[key].Value()
	if image == nil {
		image = &rootfsImage{
			repo: r, digest: m.Digest, config: c.config, layers: c.layers, order: readOrder(c.layers), seen: m.FirstSeen,
			ino:        ino("rootfs", r.name(), m.Digest.String()),
			generation: ino("generation", r.name(), m.Digest.String()),
			opened:     make([]atomic.Pointer[layerIndex], len(c.layers)),
			asked:      make(chan struct{}),
		}
		said := &entryReports{report: image.report}
		image.files = rootfs.NewStack(len(c.layers), image.open, func(layer int, e *rootfs.EntryError) {
			said.add(fmt.Errorf("layer %s: %w", c.layers[layer].Digest, e))
		})
		sweepWeak(t.rootfses)
		t.rootfses[key] = weak.Make(image)
	}
	return image, nil
}

// readOrder is the order in which layers are read: the largest first, since most looks wait for
// all of them, and that one takes longest; of equals the upper, which decides more.
func readOrder(layers []v1.Descriptor) []int {
	order := make([]int, len(layers))
	for n := range order {
		order[n] = len(layers) - 1 - n
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(layers[b].Size, layers[a].Size) })
	return order
}

// sweepWeak forgets what nobody holds any more, now and then.
func sweepWeak[K comparable, V any](m map[K]weak.Pointer[V]) {
	if n := len(m); n < 64 || n&(n-1) != 0 { // at each power of two
		return
	}
	for key, one := range m {
		if one.Value() == nil {
			delete(m, key)
		}
	}
}

// path is where the root directory is, from the root of the tree.
func (i *rootfsImage) path() string {
	host, rest, _ := strings.Cut(i.repo.name(), "/")
	parts := []string{host}
	for c := range strings.SplitSeq(rest, "/") {
		parts = append(parts, spelling(c))
	}
	return strings.Join(append(parts, digestsName, i.digest.String(), hiddenRootfs), "/")
}

// report reports what is wrong with the image and fails no call.
func (i *rootfsImage) report(err error) { i.repo.tree.opts.Report(i.path(), err) }

// open returns the tree of a layer. It is what the Stack asks.
func (i *rootfsImage) open(ctx context.Context, layer int) (*rootfs.LayerTree, error) {
	x, err := i.layer(ctx, layer, func(int64) {})
	if err != nil {
		return nil, err
	}
	return x.tree, nil
}

// layer returns what is known of a layer. The first time it begins with all layers that
// nothing is known of, and waits for the one; told is told how many of its bytes have come
// meanwhile.
func (i *rootfsImage) layer(ctx context.Context, layer int, told func(more int64)) (*layerIndex, error) {
	if x := i.opened[layer].Load(); x != nil {
		told(i.layers[layer].Size)
		return x, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p := i.repo.tree.passes
	if i.repo.tree.pacer.shuts(ctx) {
		return nil, fmt.Errorf("look into %s@%s: %w", i.repo.name(), i.digest, ErrCrawler)
	}
	for _, n := range i.order {
		if i.opened[n].Load() == nil {
			p.begin(i.repo, i.layers[n])
		}
	}
	x, err := p.layer(ctx, i.repo, i.layers[layer], told)
	if err != nil {
		return nil, err
	}
	if err := i.checkPlain(ctx, layer, x); err != nil {
		return nil, err
	}
	if i.opened[layer].Load() == nil {
		if limit := i.repo.tree.imageBytes; i.bytes.Add(int64(x.bytes)) > limit {
			i.bytes.Add(-int64(x.bytes))
			return nil, fmt.Errorf("%s@%s: layer %s: %w: what is in the layers of the image takes more than %d bytes of memory",
				i.repo.name(), i.digest, i.layers[layer].Digest, rootfs.ErrTooLarge, limit)
		}
		if !i.opened[layer].CompareAndSwap(nil, x) {
			i.bytes.Add(-int64(x.bytes)) // another goroutine was here
		}
	}
	return i.opened[layer].Load(), nil
}

// plain opens the plain bytes of a layer that is known, and what makes those that are missing. The
// caller closes the former.
func (i *rootfsImage) plain(layer int) (*cache.Plain, *layerSpans) {
	x := i.opened[layer].Load()
	spans := &layerSpans{repo: i.repo, layer: i.layers[layer], index: x.index, plain: x.index.Plain(nil)}
	return x.kept.Plain(spans), spans
}

// checkPlain compares the digest of a plain layer with what the config says. That is asked
// for where the layer was fetched: then one request is little, and it stays in the cache for
// later processes. Of a layer that has a table of contents nobody knows the former.
func (i *rootfsImage) checkPlain(ctx context.Context, layer int, x *layerIndex) error {
	if x.index.DiffID == (v1.Hash{}) {
		return nil
	}
	if x.fetched {
		if err := i.askConfig(ctx); err != nil {
			return err
		}
	}
	config, err := i.configOf(ctx, false)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil || config == nil || config.diffIDs == nil {
		return nil //nolint:nilerr // a config that cannot be read says nothing
	}
	if said := config.diffIDs[layer]; said != x.index.DiffID {
		return fmt.Errorf("%s@%s: layer %s: %w: its plain bytes are %s, and the config says %s",
			i.repo.name(), i.digest, i.layers[layer].Digest, rootfs.ErrMismatch, x.index.DiffID, said)
	}
	return nil
}

// configLimit is how long the config is waited for.
const configLimit = 10 * time.Second

// askConfig asks for the config, once whatever comes of it, and waits for the answer.
func (i *rootfsImage) askConfig(ctx context.Context) error {
	i.ask.Do(func() {
		asking := i.repo.tree.detach(configLimit, nil, func(ctx context.Context) {
			defer close(i.asked)
			_, _ = i.configOf(ctx, true) // without it nothing is compared
		})
		if !asking {
			close(i.asked)
		}
	})
	select {
	case <-i.asked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
