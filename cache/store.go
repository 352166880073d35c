// Package cache keeps what registries sent on disk: blobs in chunks as they
// arrive, manifests, and what tags meant.
//
// A blob is read through a [Reader]. What is on disk is checked and returned;
// what is missing is fetched by a download that belongs to the [Store] and
// serves every reader of the blob. A blob that is whole is checked against its
// digest before its last bytes are handed out, and moves to blobs/sha256, an OCI
// layout that other tools can read. Every form of damage on disk is a miss.
//
// Any number of processes may share a directory. There is no eviction yet; what
// a reader has open it holds a shared lock on, which is the evictor's to respect.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrMismatch is a blob that is not what its digest or size says.
var ErrMismatch = errors.New("blob does not match its digest")

var errClosed = errors.New("the cache is closed")

// A Fetcher is where missing bytes come from. The body holds the blob's bytes
// from start on: start is off where the source knows ranges, and 0 where it
// sends the whole blob whatever is asked for. Fewer bytes than n are no error:
// the rest is asked for again.
type Fetcher interface {
	BlobRange(ctx context.Context, d v1.Hash, off, n int64) (body io.ReadCloser, start int64, err error)
}

// Options are what a [Store] is made of. The zero value works.
type Options struct {
	Now    func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
	// ErrorTTL is how long a failed download answers for the next; 0 is a second.
	ErrorTTL time.Duration
}

const (
	// layoutVersion changes when an older program could misread the directory.
	layoutVersion = "1\n"
	// cacheTag marks the directory for backup programs (bford.info/cachedir).
	cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of ocidistfs; it may be removed when nothing uses it.\n"

	ociLayout = `{"imageLayoutVersion":"1.0.0"}`
	// An index that lists nothing: no image of it can ever lack a blob.
	ociIndex = `{"schemaVersion":2,"manifests":[]}`

	// maxFetches bounds the downloads of a store that run at once.
	maxFetches = 32
)

// A Store is a cache directory. It is safe for concurrent use.
type Store struct {
	dir    string
	opts   Options
	lock   *os.File      // its bytes are locked to create, complete and drop blobs
	slots  chan struct{} // one for each download that runs
	counts counts

	// Downloads run under life, not under the context of who needs them; it ends
	// with Close.
	life     context.Context
	end      context.CancelFunc
	fetching sync.WaitGroup

	mu       sync.Mutex
	contents map[contentKey]*content // guarded by mu
	closed   bool                    // guarded by mu
}

// A contentKey has the repository, since unverified bytes of one are not shown
// to another.
type contentKey struct {
	repository string
	digest     v1.Hash
	size       int64
}

type counts struct {
	fetched, read, mismatches, active atomic.Int64
}

// Stats says what a store did since it was opened.
type Stats struct {
	Fetched    int64 `json:"fetchedBytes"`
	Read       int64 `json:"readBytes"` // by readers, from disk
	Mismatches int64 `json:"mismatches"`
	Active     int64 `json:"activeDownloads"`
	Open       int   `json:"openBlobs"`
}

// Open opens or makes a cache directory; its owner closes the store. A directory
// that a newer program made is refused.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ErrorTTL == 0 {
		opts.ErrorTTL = time.Second
	}
	lock, err := prepare(dir)
	if err != nil {
		return nil, fmt.Errorf("cache directory %s: %w", dir, err)
	}
	life, end := context.WithCancel(context.Background())
	return &Store{
		dir: dir, opts: opts, lock: lock,
		slots: make(chan struct{}, maxFetches),
		life:  life, end: end,
		contents: map[contentKey]*content{},
	}, nil
}

// prepare makes what a cache directory holds, and opens its lock.
func prepare(dir string) (*os.File, error) {
	for _, d := range []string{"", "blobs/sha256", "sums/sha256", "partial", "refs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil { // one that was there may be open to all
		return nil, err
	}
	version, err := os.ReadFile(filepath.Join(dir, "version"))
	switch {
	case errors.Is(err, iofs.ErrNotExist):
	case err != nil:
		return nil, err
	case string(version) != layoutVersion:
		return nil, fmt.Errorf("its layout has version %q, this program knows %q; use another directory or remove it",
			strings.TrimSpace(string(version)), strings.TrimSpace(layoutVersion))
	}
	for name, content := range map[string]string{
		"CACHEDIR.TAG": cacheTag, "oci-layout": ociLayout, "index.json": ociIndex, "version": layoutVersion,
	} {
		path := filepath.Join(dir, name)
		if b, err := os.ReadFile(path); err == nil && string(b) == content {
			continue
		}
		if err := writeFile(path, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}

// writeFile replaces a file so that others see the old or the new one: written
// under another name, then renamed. It is not synced: what a crash leaves of it
// fails its checks and is a miss.
func writeFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Close ends the downloads under way and waits for them. Readers that are open
// fail afterwards where bytes are missing.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.fetching.Wait()
	return s.lock.Close()
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
		Open: len(s.contents),
	}
}

func (s *Store) blobPath(d v1.Hash) string { return filepath.Join(s.dir, "blobs", "sha256", d.Hex) }
func (s *Store) sumsPath(d v1.Hash) string { return filepath.Join(s.dir, "sums", "sha256", d.Hex) }
func (s *Store) partialPath(repository string, d v1.Hash) string {
	return filepath.Join(s.dir, "partial", nameOf(repository), d.Hex)
}

// acquire returns the shared state of a blob with one more reader, opening it if
// it is not open.
func (s *Store) acquire(k contentKey, from Fetcher) (*content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if c, ok := s.contents[k]; ok {
		c.readers++
		return c, nil
	}
	// Opening under the mutex is disk I/O, brief but for a blob whose sums are
	// lost; in return nobody opens a blob twice.
	c, err := openContent(s, k, from)
	if err != nil {
		return nil, err
	}
	c.readers++
	s.contents[k] = c
	return c, nil
}

// release gives back what acquire or a download took. The last one closes it.
func (s *Store) release(c *content, readers, downloads int) error {
	s.mu.Lock()
	c.readers -= readers
	c.downloads -= downloads
	last := c.readers == 0 && c.downloads == 0
	if last && s.contents[c.key] == c {
		delete(s.contents, c.key)
	}
	idle := c.readers == 0
	s.mu.Unlock()
	if idle {
		c.forgetQueue()
	}
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
	c.downloads++
	s.fetching.Add(1)
	return true
}

// disown makes the next reader open the blob anew.
func (s *Store) disown(c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contents[c.key] == c {
		delete(s.contents, c.key)
	}
}
