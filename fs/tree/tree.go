// Package tree is what the mount shows: which names there are and what each one
// is. It knows neither FUSE nor HTTP, so commands and tests use it without a
// kernel.
//
// A [Dir] holds its path and resolves names when it is asked; a [File] holds
// content that is known by digest. Only this package knows that a tag is good
// for a while and a digest for ever.
package tree

import (
	"cmp"
	"context"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"sync"
	"time"
	"weak"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry"
)

// Options are what a [Tree] is made of. Client and Store are required.
type Options struct {
	Client *registry.Client
	Store  *cache.Store
	// AllTags lists tags too that stand for what refers to an image: the lists where
	// there is no referrers API, and what cosign makes. Others see them by their names
	// alone.
	AllTags bool
	// Registries are hosts listed in the root besides those that were used.
	Registries []string
	// TagTTL is for how long a tag means the digest that it was resolved to, and
	// ListTTL for how long a list is good: of tags, of repositories, of referrers.
	// With 0 the registry is asked each time.
	TagTTL, ListTTL time.Duration
	// StaleIfError is for how long after a registry said what a tag means that is
	// still good where it cannot be asked again; 0 is not at all.
	StaleIfError time.Duration
	// Offline makes no request: tags mean what they did, whatever their age, and what
	// is not in the store is [ErrOffline].
	Offline bool
	// Pace is how many manifests a second a caller that is known, by [WithCaller],
	// may ask registries for that nothing is known of, after the first fifty. 0 does
	// not hold anybody back.
	Pace int
	// Memory is how many bytes the tree may keep of manifests and lists of tags, all
	// in all; 0 is 128 MiB.
	Memory int64
	// Platform chooses the image of an index.
	Platform Platform
	// ReadAhead is how many bytes all sequential readers together may be ahead of
	// what they have read; 0 is 64 MiB. Connections is over how many connections
	// one of them fetches; 0 is 8.
	ReadAhead   int64
	Connections int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger takes what no call is worse for: tags that are served stale, callers that
	// are held back; nil discards.
	Logger *slog.Logger
	// Report takes failures that no call returns, such as a platform that is
	// missing when a directory is listed; nil drops them. It is called from
	// several goroutines.
	Report func(path string, err error)
}

// A Tree is the name space of a mount. It is safe for concurrent use.
type Tree struct {
	opts      Options                       // set once by New, as what follows
	started   time.Time                     // the time of what has none of its own
	manifests *manifests                    // what digests mean
	tags      *lru.Cache[tagKey, cache.Tag] // what tags meant, and when
	sizes     *lru.Cache[archiveKey, archiveSize]
	contents  *lru.Cache[manifestID, *contents]   // what manifests refer to
	indexes   *lru.Cache[registry.Digest, *index] // what indexes have
	lists     *lists                              // which tags and repositories there are
	referrers *referrerLists                      // what refers to digests
	flights   *flights                            // what is being asked
	layers    *layerIndexes                       // what is in layers
	passes    *passes                             // which of them are being read
	ahead     *readat.Budget                      // what sequential readers share
	refreshes refreshes                           // since when what was learned counts
	stales    *stales                             // which tags mean what they did
	staleWait time.Duration                       // for an answer where there is a stale one
	// catalogWait is for the next names of a catalog.
	catalogWait time.Duration
	pacer       *pacer // who asks how much
	// imageBytes is how much memory what is known of one image's layers may take.
	imageBytes int64
	stop       chan struct{} // closed by Close
	running    sync.WaitGroup

	mu       sync.Mutex
	closed   bool                                    // guarded by mu
	rootfses map[rootfsKey]weak.Pointer[rootfsImage] // guarded by mu; the images that somebody is in
}

// The defaults of [Options]. Eight connections of 25 MB/s, as CDNs give, are 200
// MB/s; and 64 MiB is a third of a second of that, so that each of them carries
// some megabytes before it waits for the next request.
const (
	defaultReadAhead   = 64 << 20
	defaultConnections = 8
	defaultMemory      = 128 << 20
)

// New returns a tree; its owner closes it.
func New(opts Options) *Tree {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	memory := cmp.Or(opts.Memory, defaultMemory)
	t := &Tree{
		opts:        opts,
		manifests:   newManifests(int(memory / 2)),
		tags:        newLRU[tagKey, cache.Tag](rememberedTags),
		sizes:       newLRU[archiveKey, archiveSize](rememberedSizes),
		contents:    newLRU[manifestID, *contents](rememberedContents),
		indexes:     newLRU[registry.Digest, *index](rememberedIndexes),
		lists:       newLists(int(memory / 2 / bytesOfName)),
		referrers:   newReferrerLists(),
		stales:      newStales(),
		staleWait:   defaultStaleWait,
		catalogWait: defaultCatalogWait,
		stop:        make(chan struct{}),
		layers:      newLayerIndexes(int(memory / 4)),
		imageBytes:  defaultImageBytes,
		rootfses:    map[rootfsKey]weak.Pointer[rootfsImage]{},
	}
	t.ahead = readat.NewBudget(cmp.Or(opts.ReadAhead, defaultReadAhead), cmp.Or(opts.Connections, defaultConnections))
	t.started = t.now()
	t.flights = newFlights(t)
	t.passes = newPasses(t)
	t.pacer = newPacer(opts.Pace, t.opts.Logger, t.opts.Report)
	return t
}

func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	kept, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	return kept
}

// Close ends the requests and listings under way and waits for them. Calls made
// afterwards fail where they need the registry.
func (t *Tree) Close() {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.stop)
	}
	t.mu.Unlock()
	t.running.Wait()
}

// Root is the directory of hosts.
func (t *Tree) Root() Dir { return rootDir{t} }

// Image returns the image, index or artifact that ref names: by its digest
// where it has one, which its tag then only names, else by its tag.
func (t *Tree) Image(ctx context.Context, ref registry.Reference) (*Image, error) {
	r, err := t.repository(ref.Name())
	if err != nil {
		return nil, err
	}
	if ref.Digest != (registry.Digest{}) {
		m, err := r.manifest(ctx, ref.Digest)
		if err != nil {
			return nil, err
		}
		return &Image{repo: r, tag: ref.Tag, manifest: m, pinned: true}, nil
	}
	answer, err := r.resolve(ctx, ref.Tag)
	if err != nil {
		return nil, err
	}
	return &Image{repo: r, tag: ref.Tag, manifest: answer.manifest}, nil
}

// repository returns the repository called "host/path".
func (t *Tree) repository(name string) (*repository, error) {
	remote, err := t.opts.Client.Repository(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, iofs.ErrNotExist)
	}
	return &repository{tree: t, remote: remote, local: t.opts.Store.Repository(remote.Name())}, nil
}

// now is the wall clock. The monotonic one stands still while the machine
// sleeps, and a tag would be good for the night.
func (t *Tree) now() time.Time { return t.opts.Now().Round(0) }

// left is the time from now until another.
func (t *Tree) left(until time.Time) time.Duration { return max(until.Sub(t.now()), 0) }

// within says whether now is less than d after t. A time that is still to come
// was read before the clock was set back: its age is not known.
func within(t, now time.Time, d time.Duration) bool {
	return !now.Before(t) && now.Before(t.Add(d))
}

// detach runs work beyond the life of the caller that first needed it, but not
// beyond limit nor the tree's, nor after unwanted is closed; nil never is. It
// reports false, and runs nothing, after Close.
// A panic in work is reported; work tells those who wait for it.
func (t *Tree) detach(limit time.Duration, unwanted <-chan struct{}, work func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	go func() {
		defer t.running.Done()
		defer func() {
			if p := recover(); p != nil {
				t.opts.Report("", fmt.Errorf("panic: %v", p))
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		ctx, end := context.WithCancelCause(ctx)
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-t.stop:
				end(errClosed)
			case <-unwanted:
				end(errUnwanted)
			case <-ended:
				end(nil)
			}
		}()
		work(ctx)
	}()
	return true
}
