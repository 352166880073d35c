package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"time"
)

// content is the state of an open blob that all its readers in the process
// share.
type content struct {
	store   *Store
	key     contentKey
	from    Fetcher
	readers int // guarded by store.mu
	users   int // guarded by store.mu; downloads, and what else needs it open

	opened  chan struct{} // closed when it is open, or cannot be
	openErr error         // set before opened is closed
	most    int64         // bytes of it that may be on disk; set before opened is closed

	// changing is held, over disk I/O, by the one who replaces form. It is no
	// concern of readers, who take form as it is.
	changing sync.Mutex

	mu      sync.Mutex    // never held over I/O: every hit takes it
	form    *form         // guarded by mu
	changed chan struct{} // guarded by mu; closed when something here changes

	hashing bool // guarded by mu; a goroutine is at form.prefix
	sealing bool // guarded by mu; all is there, the digest is being checked

	drops map[int]int // guarded by mu; of chunks that were damaged since the blob was last whole

	downloads []*download // guarded by mu; what is being fetched
	ranges    bool        // guarded by mu; the source sends ranges
	rangeless bool        // guarded by mu; the source sends all, whatever it is asked for
	prober    *download   // guarded by mu; the one that finds out which; nil where that is known
	failure   failure     // guarded by mu; of the last download that failed
	failures  int         // guarded by mu; how many did
	poison    error       // guarded by mu; the blob is not what its digest says

	unkept   *unkept   // guarded by mu; nil as long as all could be kept
	keepFrom time.Time // guarded by mu; when the disk is tried again
	proving  *proof    // guarded by mu; under way

	feeding chan struct{} // holds one, of who is at feed
	feed    *feed         // of who is in feeding; nil where none is open
}

func newContent(s *Store, k contentKey, from Fetcher) *content {
	return &content{store: s, key: k, from: from, opened: make(chan struct{}), changed: make(chan struct{}), feeding: make(chan struct{}, 1)}
}

// open opens the blob in the form that it has on disk. Where the disk does not let
// it, the blob is read without keeping it.
func (c *content) open() error {
	c.most = c.store.mostOf(c.key.size)
	var f *form
	err := c.store.withRoom(func() (err error) {
		f, err = c.openForm()
		return err
	})
	if err != nil {
		if err = c.store.onDisk(err); !isDisk(err) {
			return err
		}
		c.store.tellUnkept(c.key.digest, err)
		f = c.bareForm()
	}
	c.mu.Lock()
	c.form = f
	if err != nil {
		c.unkeep(err)
	}
	c.mu.Unlock()
	if c.key.size > 0 || f.whole {
		return nil
	}
	// There is nothing to fetch, and so nobody who would check it.
	if empty := sha256.Sum256(nil); hex.EncodeToString(empty[:]) != c.key.digest.Hex {
		if f.file != nil {
			c.removePartial(f.file)
		}
		return fmt.Errorf("%w: no bytes have another", ErrMismatch)
	}
	return c.publish(f)
}

// wake tells those who wait that something changed. c.mu is held.
func (c *content) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *content) verified() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.form != nil && c.form.whole && c.poison == nil
}

// close closes the files. Nobody uses c any more.
func (c *content) close() error {
	c.mu.Lock()
	f := c.form
	c.form = nil
	c.mu.Unlock()
	c.store.windows.drop(c)
	c.feeding <- struct{}{} // perhaps it is just being found idle
	c.endFeed()
	<-c.feeding
	if f == nil {
		return nil
	}
	if f.whole {
		c.store.use(c.store.sumsPath(c.key.digest))
	} else {
		c.store.use(c.store.partialPath(c.key.repository, c.key.digest) + ".map")
	}
	return f.close()
}

// need waits until the chunks of a span may be read, and returns a view of them.
// What is missing is fetched, and what is missing up to the chunk end with it:
// that will be needed next.
//
// Where chunks were lost that a reader may have had, he does not come for them
// again, and his last chunk would not be the one that completes the blob. So
// once only such are missing, nothing is handed out before the blob is whole
// again and has its digest. Of a blob that was whole that is so from the moment
// it was damaged: who opened it was told that all of it is verified, and a
// kernel may keep its pages.
//
// The error is errUnkept where something is missing that cannot be kept for now; then
// [content.readUnkept] reads it.
func (c *content) need(ctx context.Context, s span, end int) (view, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.failures
	for {
		if c.poison != nil {
			return view{}, c.poison
		}
		if c.form == nil {
			return view{}, os.ErrClosed
		}
		wanted := s
		unkept, proven := c.isUnkept(), c.unkept != nil && c.unkept.proven
		if !c.form.whole && !proven && c.form.chunks.allRead() {
			wanted = span{0, c.form.chunks.n}
		}
		i, missing := c.form.chunks.firstMissing(wanted)
		if !missing {
			return newView(c.form, s), nil
		}
		if !c.inFlight(i) && !c.sealing {
			if unkept {
				return view{}, errUnkept
			}
			if c.failures != seen || c.failure.stands(c.store.opts.Now()) {
				return view{}, c.failure.err
			}
			if err := c.start(span{i, min(max(wanted.to, end), i+maxRun)}); err != nil {
				return view{}, err
			}
		}
		changed := c.changed
		c.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		c.mu.Lock()
		if err != nil {
			return view{}, err
		}
	}
}
