package tree

import (
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

const (
	tagTTL  = 60 * time.Second
	listTTL = 90 * time.Second
)

// fixture is a tree over the real client, a real store and a registry in the
// test, with a clock that only the test moves.
type fixture struct {
	t      testing.TB
	server *registrytest.Server
	dir    string // of the cache
	store  *cache.Store
	client *registry.Client
	tree   *Tree

	mu      sync.Mutex
	now     time.Time
	reports []error
}

func newFixture(t testing.TB, opts registrytest.Options) *fixture {
	t.Helper()
	return newFixtureIn(t, t.TempDir(), opts)
}

// newFixtureIn has its cache in a directory that may outlive the test.
func newFixtureIn(t testing.TB, dir string, opts registrytest.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, server: registrytest.Start(t, opts), dir: dir, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var err error
	if f.store, err = cache.Open(f.dir, cache.Options{Now: f.clock}); err != nil {
		t.Fatal(err)
	}
	f.client = registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Retries: -1})
	f.tree = f.newTree("linux/amd64")
	t.Cleanup(func() {
		f.tree.Close()
		f.client.Close()
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// newTree makes another tree over the same store, as another process would.
func (f *fixture) newTree(platform string) *Tree {
	f.t.Helper()
	return f.newTreeWith(platform, func(*Options) {})
}

// newTreeWith does, with other options.
func (f *fixture) newTreeWith(platform string, change func(*Options)) *Tree {
	f.t.Helper()
	p, err := ParsePlatform(platform)
	if err != nil {
		f.t.Fatal(err)
	}
	opts := Options{
		Client: f.client, Store: f.store, Platform: p, TagTTL: tagTTL, ListTTL: listTTL,
		Now: f.clock, Report: f.report,
	}
	change(&opts)
	t := New(opts)
	f.t.Cleanup(t.Close)
	return t
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// pass lets time pass.
func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fixture) report(_ string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, err)
}

func (f *fixture) reported(target error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.reports, func(err error) bool { return errors.Is(err, target) })
}

// path is a path on the fixture's registry.
func (f *fixture) path(rest string) string { return f.server.Host() + "/" + rest }

// push pushes an image of one small layer; what is made follows from the seed.
func (f *fixture) push(repo, tag string, seed uint64) v1.Hash {
	f.t.Helper()
	return f.server.Push(f.t, repo, tag, registrytest.Image(f.t, registrytest.ImageSpec{Layers: []int64{100}, Seed: seed}))
}

// walk looks each part of a path up.
func walk(ctx context.Context, t *Tree, path string) (Child, error) {
	child := Child{Node: t.Root(), Lifetime: Forever}
	for name := range strings.SplitSeq(path, "/") {
		dir, ok := child.Node.(Dir)
		if !ok {
			return Child{}, iofs.ErrInvalid
		}
		var err error
		if child, err = dir.Lookup(ctx, name); err != nil {
			return Child{}, err
		}
	}
	return child, nil
}

func (f *fixture) lookup(path string) (Child, error) {
	return walk(f.t.Context(), f.tree, f.path(path))
}

func (f *fixture) mustLookup(path string) Child {
	f.t.Helper()
	child, err := f.lookup(path)
	if err != nil {
		f.t.Fatalf("look up %s: %v", path, err)
	}
	return child
}

func (f *fixture) attr(path string) Attr {
	f.t.Helper()
	attr, err := f.mustLookup(path).Node.Attr(f.t.Context())
	if err != nil {
		f.t.Fatalf("stat %s: %v", path, err)
	}
	return attr
}

func (f *fixture) open(path string) OpenFile {
	f.t.Helper()
	return openIn(f.t, f.tree, f.path(path))
}

// openIn opens a file of a tree until the test ends.
func openIn(t testing.TB, tree *Tree, path string) OpenFile {
	t.Helper()
	child, err := walk(t.Context(), tree, path)
	if err != nil {
		t.Fatalf("look up %s: %v", path, err)
	}
	file, ok := child.Node.(File)
	if !ok {
		t.Fatalf("%s is no file", path)
	}
	open, err := file.Open(t.Context())
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() {
		if err := open.Close(); err != nil {
			t.Error(err)
		}
	})
	return open
}

func readAll(t testing.TB, open OpenFile) []byte {
	t.Helper()
	b := make([]byte, open.Size())
	if n, err := open.ReadAt(t.Context(), b, 0); n < len(b) {
		t.Fatalf("read %d of %d bytes: %v", n, len(b), err)
	}
	return b
}

func (f *fixture) read(path string) string {
	f.t.Helper()
	return string(readAll(f.t, f.open(path)))
}

// list returns the names in a directory, and the error that ended it.
func (f *fixture) list(path string) ([]string, error) {
	f.t.Helper()
	dir, ok := f.mustLookup(path).Node.(Dir)
	if !ok {
		f.t.Fatalf("%s is no directory", path)
	}
	return names(dir.List(f.t.Context()))
}

func names(entries func(func(Entry, error) bool)) (names []string, err error) {
	for e, err := range entries {
		if err != nil {
			return names, err
		}
		names = append(names, e.Name)
	}
	return names, nil
}

// asked is what the registry was asked for manifests since the last call, such
// as "HEAD a:tag".
func (f *fixture) asked() []string {
	lines := []string{}
	for _, r := range f.server.Requests() {
		if r.Kind == registrytest.Manifest {
			lines = append(lines, r.Method+" "+r.Repository+":"+r.Reference)
		}
	}
	f.server.Forget()
	return lines
}

func (f *fixture) wantAsked(when string, want ...string) {
	f.t.Helper()
	if got := f.asked(); !slices.Equal(got, want) {
		f.t.Errorf("%s the registry was asked %q, want %q", when, got, want)
	}
}
