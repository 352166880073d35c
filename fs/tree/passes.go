package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocidistfs/ocidistfs/fs/rootfs"
	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// passLimit ends a pass that nothing else does: a terabyte at 12 MB/s.
	passLimit = 24 * time.Hour
	// loadsAtOnce is how many indexes are read from disk at once, each of which can take
	// some hundred megabytes of memory.
	loadsAtOnce = 8
	// malformedFor is for how long a layer that was read, and is no archive, is not read
	// again: it is the same the next time.
	malformedFor = time.Hour
)

// passes finds out what is in layers, each once at a time for all who wait for it. That
// belongs to the tree: it goes on when those who wait have left, and ends with the tree.
// It is safe for concurrent use.
type passes struct {
	tree *Tree

	mu     sync.Mutex
	inAir  map[registry.Digest]*pass        // guarded by mu
	failed *simplelru.LRU[passKey, failure] // guarded by mu
	places map[placesKey]*places            // guarded by mu
	begun  uint64                           // guarded by mu; how many passes were

	loading chan struct{} // the places of those who look into the store
}

// passKey is what a failure is of: another repository may have the layer.
type passKey struct {
	repository string
	layer      registry.Digest
	toc        registry.Digest
}

func passKeyOf(r *repository, d v1.Descriptor) passKey {
	return passKey{r.name(), d.Digest, layerIDs(d)[0].TOC}
}

func newPasses(t *Tree) *passes {
	failed, err := simplelru.NewLRU[passKey, failure](rememberedFailures, nil)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return &passes{
		tree: t, inAir: map[registry.Digest]*pass{}, failed: failed, places: map[placesKey]*places{},
		loading: make(chan struct{}, loadsAtOnce),
	}
}

// A pass is a layer that is being read.
type pass struct {
	key    passKey
	number uint64        // in the order in which they were begun
	size   int64         // of the layer, compressed
	places *places       // it takes one of these; for its goroutine
	has    bool          // one; guarded by places.mu
	turn   chan struct{} // closed when it got one for which it stood in the line; guarded by places.mu
	done   chan struct{}

	// Set before done is closed.
	index *layerIndex
	err   error

	mu      sync.Mutex
	unknown bool                 // guarded by mu; nothing on disk says what is in the layer
	read    int64                // guarded by mu; compressed bytes
	told    time.Time            // guarded by mu; when those who wait were told last
	waiting map[*waiter]struct{} // guarded by mu
}

// A waiter is told how a pass goes on.
type waiter struct {
	advanced func()           // now and then
	read     func(more int64) // of all compressed bytes
}

// begin sees to it that a layer is known some time, without waiting for it.
func (p *passes) begin(r *repository, d v1.Descriptor) {
	_, _, _ = p.look(r, d) // whoever needs the layer asks, and gets the error
}

// layer returns what is known of a layer, and waits for it as long as ctx lasts. told is told
// how many more of its compressed bytes came, never by two at once, and all of them in the end.
func (p *passes) layer(ctx context.Context, r *repository, d v1.Descriptor, told func(more int64)) (*layerIndex, error) {
	left := d.Size
	for {
		x, running, err := p.look(r, d)
		if err != nil {
			return nil, err
		}
		if x != nil {
			told(left)
			return x, nil
		}
		if err := running.wait(ctx, func(more int64) {
			more = min(more, left) // another pass may have told of some
			left -= more
			told(more)
		}); err != nil {
			return nil, err
		}
		if running.err == nil && running.key.toc == passKeyOf(r, d).toc {
			told(left)
			return running.index, nil
		}
		if running.key == passKeyOf(r, d) {
			return nil, running.err
		}
		// It was another repository's, or of another table of contents: this one may
		// have better luck.
	}
}

// look returns what is known of a layer, or the pass that finds it out, or why the last
// one failed.
func (p *passes) look(r *repository, d v1.Descriptor) (*layerIndex, *pass, error) {
	for _, id := range layerIDs(d) {
		if x := p.tree.layers.get(id); x != nil {
			return x, nil, nil
		}
	}
	key := passKeyOf(r, d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if running, ok := p.inAir[d.Digest]; ok {
		return nil, running, nil
	}
	// It may have landed since.
	for _, id := range layerIDs(d) {
		if x := p.tree.layers.get(id); x != nil {
			return x, nil, nil
		}
	}
	if before, ok := p.failed.Get(key); ok {
		if within(before.since, p.tree.now(), before.lasts) {
			return nil, nil, before.err
		}
		p.failed.Remove(key)
	}
	p.begun++
	running := &pass{
		key: key, number: p.begun, size: d.Size, places: p.placesOf(r, d, len(layerIDs(d)) > 1),
		done: make(chan struct{}), waiting: map[*waiter]struct{}{},
	}
	running.tryEnter()
	if !p.tree.detach(passLimit, nil, func(ctx context.Context) { p.run(ctx, r, d, running) }) {
		running.leave()
		return nil, nil, errClosed
	}
	p.inAir[d.Digest] = running
	return nil, running, nil
}

func (p *passes) run(ctx context.Context, r *repository, d v1.Descriptor, running *pass) {
	defer func() {
		if v := recover(); v != nil {
			running.index, running.err = nil, fmt.Errorf("%s: layer %s: panic: %v", r.name(), d.Digest, v)
		}
		if running.err == nil {
			p.tree.layers.put(running.index)
		}
		running.leave()
		p.mu.Lock()
		delete(p.inAir, d.Digest)
		if running.err != nil {
			p.failed.Add(running.key, failure{running.err, p.tree.now(), lasts(running.err)})
		}
		p.mu.Unlock()
		close(running.done)
	}()
	said := &entryReports{report: func(err error) { p.tree.opts.Report(r.name(), err) }}
	report := func(e *rootfs.EntryError) { said.add(fmt.Errorf("layer %s: %w", d.Digest, e)) }
	if running.index = p.load(r, d, report); running.index != nil {
		return
	}
	running.mu.Lock()
	running.unknown = true
	running.mu.Unlock()
	var err error
	if running.index, err = p.read(ctx, r, d, running, report); err != nil {
		running.err = fmt.Errorf("%s: %w", r.name(), err)
	}
}

// read reads a layer when it is its turn: its table of contents where it has one that is of
// use, and else all of it.
func (p *passes) read(ctx context.Context, r *repository, d v1.Descriptor, running *pass, report func(*rootfs.EntryError)) (*layerIndex, error) {
	if err := running.enter(ctx); err != nil {
		return nil, err
	}
	if ids := layerIDs(d); len(ids) > 1 {
		l, err := r.readTOC(ctx, ids[0], d, report, running.advance)
		if !errors.Is(err, rootfs.ErrNoTOC) {
			return l, err
		}
		r.tree.opts.Logger.Info("the table of contents of a layer is of no use; all of the layer is read", "digest", d.Digest.String(), "error", err)
		running.leave()
		p.mu.Lock()
		running.places = p.placesOf(r, d, false)
		p.mu.Unlock()
		if err := running.enter(ctx); err != nil {
			return nil, err
		}
	}
	return r.readIndex(ctx, d, report, running.add)
}

// load returns what the store knows of a layer, or nil.
func (p *passes) load(r *repository, d v1.Descriptor, report func(*rootfs.EntryError)) *layerIndex {
	p.loading <- struct{}{} // those who have a place need nobody
	defer func() { <-p.loading }()
	for _, id := range layerIDs(d) {
		if x := r.storedIndex(id, report); x != nil {
			return x
		}
	}
	return nil
}

// lasts is for how long a layer is not read again after it failed.
func lasts(err error) time.Duration {
	switch {
	case errors.Is(err, rootfs.ErrFormat), errors.Is(err, rootfs.ErrTooLarge):
		return malformedFor
	case isAbsent(err):
		return absentFor
	}
	return failedFor
}

// wait returns when the pass has ended, or with the cause of ctx. read is told of bytes that
// came before, too.
func (p *pass) wait(ctx context.Context, read func(more int64)) error {
	w := &waiter{advancer(ctx), read}
	p.mu.Lock()
	p.waiting[w] = struct{}{}
	w.read(p.read)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, w)
		p.mu.Unlock()
	}()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wanted says whether somebody waits for the pass.
func (p *pass) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0
}

// toldEach is how often those who wait for a pass are told that it goes on.
const toldEach = time.Second

// add takes note of more bytes that came, and tells those who wait.
func (p *pass) add(more int64) {
	p.mu.Lock()
	p.read += more
	for w := range p.waiting {
		w.read(more)
	}
	p.mu.Unlock()
	if more > 0 {
		p.advance()
	}
}

// advance tells those who wait for the pass that bytes came, and those who wait for passes that
// are in the line for its place: that comes nearer.
func (p *pass) advance() {
	now := time.Now()
	all, due := p.due(now)
	if !due {
		return
	}
	for _, behind := range p.places.waiting() {
		more, _ := behind.due(now)
		all = append(all, more...)
	}
	for _, advanced := range all {
		advanced()
	}
}

// due are the functions that tell those who wait for the pass, if it is time for that.
func (p *pass) due(now time.Time) (all []func(), due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.told) < toldEach {
		return nil, false
	}
	p.told = now
	for w := range p.waiting {
		all = append(all, w.advanced)
	}
	return all, true
}

// A LayerPass is a layer that is being read.
type LayerPass struct {
	Repository string // "host/path"
	Layer      registry.Digest
	Read, Size int64 // compressed bytes that came, of how many
}

// Passes are the layers that are being read, in the order of their digests. Of a layer that
// waits for its turn nothing came.
func (t *Tree) Passes() []LayerPass {
	p := t.passes
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]LayerPass, 0, len(p.inAir))
	for _, one := range p.inAir {
		one.mu.Lock()
		if one.unknown {
			all = append(all, LayerPass{one.key.repository, one.key.layer, one.read, one.size})
		}
		one.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b LayerPass) int { return strings.Compare(a.Layer.Hex, b.Layer.Hex) })
	return all
}
