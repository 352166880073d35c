package cache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestDamageWhileOpen damages files below readers that have read all of them.
func TestDamageWhileOpen(t *testing.T) {
	const size = 20 * chunkSize
	for name, c := range map[string]struct {
		part    int64 // what is fetched before the damage
		damage  func(path string)
		fetched int64 // after it
	}{
		"flipped, whole":     {size, func(p string) { edit(t, p, flip(7)) }, size},
		"truncated, whole":   {size, func(p string) { edit(t, p, func(b []byte) []byte { return b[:size/2] }) }, size},
		"flipped, partial":   {size / 2, func(p string) { edit(t, p, flip(chunkSize)) }, size/2 + chunkSize},
		"truncated, partial": {size / 2, func(p string) { edit(t, p, func(b []byte) []byte { return b[:chunkSize+1] }) }, size - chunkSize},
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			s := openStore(t, t.TempDir())
			r, other := openBlob(t, s, d, size, from), openBlob(t, s, d, size, from)
			for range 2 { // so that what may be checked once has been
				mustReadAt(t, r, from.content, 0, c.part)
			}
			path := s.blobPath(d)
			if c.part < size {
				path = s.partialPath(testRepository, d)
			}
			_, before := from.counts()
			c.damage(path)
			mustRead(t, r, from.content)
			mustRead(t, other, from.content)
			if _, sent := from.counts(); sent-before != c.fetched {
				t.Errorf("%d bytes fetched after the damage, want %d", sent-before, c.fetched)
			}
			if b, err := os.ReadFile(s.blobPath(d)); err != nil || digestOf(b) != d {
				t.Errorf("the file is not healed: %v", err)
			}
		})
	}
}

// TestChangeTimeMayLie has a file changed so soon after it was checked that a
// coarse clock gives both the same time.
func TestChangeTimeMayLie(t *testing.T) {
	const size = 2 * chunkSize
	from, d := newSource(size)
	now := time.Now()
	s := openStoreWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	r := openBlob(t, s, d, size, from)
	checked := func() bool {
		mustRead(t, r, from.content)
		c := r.content
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.form.chunks.checked(span{0, 2})
	}
	mustRead(t, r, from.content)
	if checked() {
		t.Error("its change time is trusted at once")
	}
	now = now.Add(time.Hour)
	if !checked() {
		t.Error("its change time is not trusted after an hour")
	}
	edit(t, s.blobPath(d), func(b []byte) []byte { return b }) // touched
	mustRead(t, r, from.content)
	if !checked() {
		t.Error("a new change time is never trusted")
	}
	if _, sent := from.counts(); sent != size {
		t.Error("it was fetched again")
	}
}

// TestUnsoundDisk has one that takes everything and gives nothing back: after few
// requests it is read without, and the log says why.
func TestUnsoundDisk(t *testing.T) {
	const size = 4 * chunkSize
	from, d := newSource(size)
	var said bytes.Buffer
	s := openStoreWith(t, t.TempDir(), Options{Now: later, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	r := openBlob(t, s, d, size, from)
	only, err := os.OpenFile(s.partialPath(testRepository, d), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := r.content
	c.mu.Lock()
	_ = c.form.file.Close()
	c.form.file = only
	c.mu.Unlock()
	mustReadAt(t, r, from.content, 0, 1)
	if requests, _ := from.counts(); requests > 2*maxHeals+1 {
		t.Errorf("%d requests", requests)
	}
	mustRead(t, r, from.content)
	s.fetching.Wait()
	if !strings.Contains(said.String(), "cache directory "+s.Dir()+": "+errUnsound.Error()) {
		t.Errorf("the log does not say why:\n%s", &said)
	}
}

// TestLostIsNotForgotten has a reader half-way through a blob when what he read
// is lost, and a source that has begun to lie: he does not come for it again, and
// must all the same not get to the end of bytes without the digest.
func TestLostIsNotForgotten(t *testing.T) {
	const size, half = 64 * bufferChunks * chunkSize, 32 * bufferChunks * chunkSize
	for name, c := range map[string]struct {
		whole bool
		lose  func(s *Store, d v1.Hash)
	}{
		"a whole blob is damaged": {true, func(s *Store, d v1.Hash) { edit(t, s.blobPath(d), flip(half)) }},
		"what is there of a partial one is damaged": {false, func(s *Store, d v1.Hash) {
			edit(t, s.partialPath(testRepository, d), flip(chunkSize))
		}},
		"the directory of a partial one is removed": {false, func(s *Store, _ v1.Hash) {
			if err := os.RemoveAll(s.dir); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			s := openStore(t, t.TempDir())
			r := openBlob(t, s, d, size, from)
			if c.whole {
				mustRead(t, r, from.content)
			}
			mustReadAt(t, r, from.content, 0, half)
			s.fetching.Wait()
			right := from.content
			from.content = flip(size - 1)(bytes.Clone(right))
			c.lose(s, d)
			if !c.whole {
				// Somebody else finds out, and waits for what he wants.
				_, _ = r.ReadAt(t.Context(), make([]byte, chunkSize), chunkSize)
			}
			p := make([]byte, bufferChunks*chunkSize)
			for off := int64(half); off < size; off += int64(len(p)) {
				if _, err := r.ReadAt(t.Context(), p, off); err != nil {
					if !errors.Is(err, ErrMismatch) {
						t.Errorf("at %d: %v, want ErrMismatch", off, err)
					}
					return
				}
			}
			t.Error("the reader got to the end of a blob that is not what its digest says")
		})
	}
}

// TestCopiesAreBounded: a reader who has to wait for his turn to copy can be
// interrupted, and those who wait for bytes hold none.
func TestCopiesAreBounded(t *testing.T) {
	const size = 4 * chunkSize
	from, d := newSource(size)
	s := openStore(t, t.TempDir())
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content) // just now: its change time is not trusted yet
	for range maxCopies {
		s.copies <- struct{}{}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := r.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, gone) {
		t.Fatalf("error %v, want %v", err, gone)
	}
	<-s.copies
	mustRead(t, r, from.content)
}
