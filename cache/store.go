// Package cache keeps what registries sent on disk: blobs in chunks as they
// arrive, manifests, and what tags meant.
//
// A blob is read through a [Reader]. What is on disk is checked and returned;
// what is missing is fetched by a download that belongs to the [Store] and
// serves every reader of the blob. A blob that is whole is checked against its
// digest before its last bytes are handed out, and moves to blobs/sha256, an OCI
// layout that other tools can read. Every form of damage on disk is a miss.
//
// Any number of processes may share a directory, and hold it to their limits while
// they fill it: what was used longest ago goes first. What a reader has open it holds
// a shared lock on, and is left alone.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	lru "github.com/hashicorp/golang-lru/v2"
)

// ErrMismatch is a blob that is not what its digest or size says.
var ErrMismatch = errors.New("blob does not match its digest")

var errClosed = errors.New("the cache is closed")

// A Fetcher is where missing bytes come from. The body holds the blob's bytes
// from start on: start is off where the source knows ranges, and 0 where it
// sends the whole blob whatever is asked for; then the body is a [Whole], which
// tells it from a range at 0. That of a range may be a [Ranged]. Fewer bytes than n are
// no error: the rest is asked for again.
type Fetcher interface {
	BlobRange(ctx context.Context, d v1.Hash, off, n int64) (body io.ReadCloser, start int64, err error)
}

// A Disputer is a Fetcher that is told of a blob whose bytes, once all were there,
// had another digest: where it has them from several places, it can ask another one
// the next time.
type Disputer interface{ Dispute(d v1.Hash) }

// dispute tells a source, if it wants to know.
func dispute(from Fetcher, d v1.Hash) {
	if disputer, ok := from.(Disputer); ok {
		disputer.Dispute(d)
	}
}

// Options are what a [Store] is made of. The zero value works.
type Options struct {
	Now    func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
	// ErrorTTL is how long a failed download answers for the next; 0 is two seconds.
	ErrorTTL time.Duration
	// MaxBytes is how much blobs may take on disk, whole and partial, with what is
	// kept beside them; 0 is no limit. Each process may pass it by a 64th, or 64 MiB.
	MaxBytes int64
	// MinFree is how many bytes of the directory's file system are left free;
	// [AutoFree] is a choice by its size.
	MinFree int64
}

// A Store is a cache directory. It is safe for concurrent use.
type Store struct {
	dir    string
	opts   Options
	counts counts
	copies chan struct{} // one for each reader that copies; made by Open
	// noClones is set when the directory's file system shares no blocks.
	noClones   atomic.Bool
	assemblies *lru.Cache[string, *os.File] // set once by Open
	answers    *lru.Cache[string, answers]  // by repository; set once by Open

	// Downloads run under life, not under the context of who needs them; it ends
	// with Close.
	life     context.Context
	end      context.CancelFunc
	fetching sync.WaitGroup

	bounds  bounds
	windows windows
	spans   spanMemory

	unkeptSums sync.Once // the log was told that sums cannot be written

	mu       sync.Mutex
	contents map[contentKey]*content    // guarded by mu
	failed   map[contentKey]failure     // guarded by mu; of late, opened or not
	names    map[string]string          // guarded by mu; of repositories, by directory; replaced, never changed
	closed   bool                       // guarded by mu
	plains   map[plainKey]*plainContent // guarded by mu; that are read
	// idlePlains are those of late that nobody reads.
	idlePlains *lru.Cache[plainKey, *plainContent] // set once by Open; changed under mu
	// toldUnkept is when the log was told that something is not kept.
	toldUnkept time.Time // guarded by mu
	// assembling are the files that are being made.
	assembling map[string]*assembly // guarded by mu
}

// A contentKey has the repository, since unverified bytes of one are not shown
// to another.
type contentKey struct {
	repository string
	digest     v1.Hash
	size       int64
}

type counts struct {
	fetched, read, mismatches, active, evicted, unkept atomic.Int64
}

// Stats says what a store did since it was opened.
type Stats struct {
	Fetched    int64 `json:"fetchedBytes"`
	Read       int64 `json:"readBytes"` // by readers, from disk
	Mismatches int64 `json:"mismatches"`
	Active     int64 `json:"activeDownloads"`
	Open       int   `json:"openBlobs"`
	Evicted    int64 `json:"evictedBytes"` // by this process
	Unkept     int64 `json:"unkeptBytes"`  // fetched and not kept, for want of room or a directory
}

// Open opens or makes a cache directory; its owner closes the store. A directory
// that a newer program made, or that is something else, is refused. One that cannot
// be made or written to, for want of room or rights, is no error: the log has it,
// what is there is read, and what cannot be kept is read without.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ErrorTTL == 0 {
		opts.ErrorTTL = 2 * time.Second
	}
	// The process may change its directory later.
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = prepare(dir)
	}
	if err != nil && !isRefused(err) {
		opts.Logger.Error("the cache directory cannot be used: what is read is fetched each time", "directory", dir, "error", err)
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache directory %s: %w", dir, err)
	}
	assemblies, err := lru.NewWithEvict(keptAssemblies, func(_ string, f *os.File) { _ = f.Close() }) // only read
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	known, err := lru.New[string, answers](knownAnswers)
	if err != nil {
		panic(err) // the same
	}
	idle, err := lru.New[plainKey, *plainContent](keptPlains)
	if err != nil {
		panic(err) // the same
	}
	life, end := context.WithCancel(context.Background())
	s := &Store{
		dir: dir, opts: opts, life: life, end: end, assemblies: assemblies, answers: known, copies: make(chan struct{}, maxCopies),
		contents: map[contentKey]*content{}, failed: map[contentKey]failure{}, assembling: map[string]*assembly{},
		plains: map[plainKey]*plainContent{}, idlePlains: idle,
	}
	s.fetching.Add(1)
	go func() {
		defer s.fetching.Done()
		_ = guarded(func() error { sweep(life, dir); s.trim(); return nil })
	}()
	return s, nil
}

// Close ends the downloads under way and waits for them. Readers that are open
// fail afterwards where bytes are missing.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.fetching.Wait()
	s.assemblies.Purge()
	s.dropPlains()
	return nil
}

// Dir is the directory.
func (s *Store) Dir() string { return s.dir }

// Stats says what the store did since it was opened.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Fetched: s.counts.fetched.Load(), Read: s.counts.read.Load(),
		Mismatches: s.counts.mismatches.Load(), Active: s.counts.active.Load(),
		Open: len(s.contents), Evicted: s.counts.evicted.Load(), Unkept: s.counts.unkept.Load(),
	}
}

// acquire returns the shared state of a blob with one more reader, opening it if
// it is not open. Opening is disk I/O, and can be the hashing of all of the blob:
// like a download it belongs to the store, all who want the blob wait for the one,
// each until its ctx ends, and who wants another blob does not.
func (s *Store) acquire(ctx context.Context, k contentKey, from Fetcher) (*content, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	c, ok := s.contents[k]
	if !ok {
		c = newContent(s, k, from)
		c.failure = s.failed[k]
		s.contents[k] = c
		c.users++ // which keeps it when all who wait have left
		s.fetching.Add(1)
		go s.open(c)
	}
	c.readers++
	s.mu.Unlock()
	var err error
	select {
	case <-c.opened:
		err = c.openErr
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.release(c, 1, 0))
	}
	return c, nil
}

// open opens a content for those who wait in acquire.
func (s *Store) open(c *content) {
	defer s.fetching.Done()
	defer close(c.opened)
	c.openErr = guarded(c.open)
	if c.openErr != nil {
		s.disown(c)
	}
	if err := s.release(c, 0, 1); err != nil {
		s.opts.Logger.Warn("close a blob", "digest", c.key.digest.String(), "error", err)
	}
}

// guarded does work, and makes an error of a panic in it: the process serves
// others.
func guarded(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return work()
}

// release gives back what acquire or a download took. The last one closes it.
func (s *Store) release(c *content, readers, users int) error {
	s.mu.Lock()
	c.readers -= readers
	c.users -= users
	last := c.readers == 0 && c.users == 0
	if last && s.contents[c.key] == c {
		delete(s.contents, c.key)
	}
	s.mu.Unlock()
	if last {
		return c.close()
	}
	return nil
}

// retain adds a download to the users of an open content.
func (s *Store) retain(c *content) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	c.users++
	s.fetching.Add(1)
	return true
}

// abandoned says that nobody reads a content any more.
func (s *Store) abandoned(c *content) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.readers == 0
}

// disown makes the next reader open the blob anew.
func (s *Store) disown(c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contents[c.key] == c {
		delete(s.contents, c.key)
	}
}
