package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrNotCloned is a file that could not be assembled without copying: the file
// system shares no blocks between files, or a blob is not whole and as it was
// when it was verified.
var ErrNotCloned = errors.New("cannot be made without copying")

// A Part of an assembled file: bytes, or all of a blob.
type Part struct {
	Bytes []byte
	Blob  *Reader // nil is Bytes
}

// cloneBlock is the block size of the file systems that can clone.
const cloneBlock = 4096

// copyInstead is up to which size a blob is copied: cloning it would cost more
// than it is worth.
const copyInstead = 64 << 10

// CanClone says whether files in the directory of dst can share blocks with
// those of the cache. dst is empty, and is afterwards.
func (s *Store) CanClone(dst *os.File) bool {
	src, err := nameless(s.dir)
	if err != nil {
		return false
	}
	defer func() { _ = src.Close() }() // it has no name, and no more use
	if _, err := src.Write(make([]byte, cloneBlock)); err != nil {
		return false
	}
	err = cloneRange(dst, 0, src, 0, cloneBlock)
	return errors.Join(err, dst.Truncate(0)) == nil
}

// Assemble writes parts one after the other to dst, which is empty, without
// copying: large blobs share their blocks with the cache's files. They begin at
// multiples of 4096 bytes. The error is [ErrNotCloned] where that cannot be; then
// dst has some of it, or nothing.
func Assemble(ctx context.Context, dst *os.File, parts []Part) error {
	at := int64(0)
	for _, p := range parts {
		var err error
		switch {
		case p.Blob == nil:
			_, err = dst.WriteAt(p.Bytes, at)
			at += int64(len(p.Bytes))
		case p.Blob.Size() <= copyInstead:
			b := make([]byte, p.Blob.Size())
			if _, err = readFull(ctx, p.Blob, b); err == nil {
				_, err = dst.WriteAt(b, at)
			}
			at += p.Blob.Size()
		default:
			err = p.Blob.content.cloneTo(dst, at)
			at += p.Blob.Size()
		}
		if err != nil {
			return fmt.Errorf("assemble: %w", err)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// keptAssemblies is how many assembled files stay open when nobody reads them: the
// kernel keeps their pages for as long.
const keptAssemblies = 32

// Assembled is the file of parts, as [Assemble] makes it, for those who only read
// it. It has no name and takes no room but for what is between the blobs. Those
// who ask for the same key get the same file, for as long as it is kept; the
// caller closes what he gets.
//
// It is made beside the call, which leaves when ctx ends: a file system writes the
// blobs to its disk before it shares their blocks, and that can take long where
// they came just now. Whoever asks later finds what was begun.
func (s *Store) Assembled(ctx context.Context, key string, parts []Part) (*os.File, error) {
	if f, ok := s.assemblies.Get(key); ok {
		if again, err := readAssembled(f); err == nil {
			return again, nil
		} // it was closed just now
	}
	if !s.Clones() {
		return nil, ErrNotCloned
	}
	a, err := s.beginAssembly(key, parts)
	if err != nil {
		return nil, err
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if a.err != nil {
		return nil, a.err
	}
	return readAssembled(a.file)
}

// dropAssemblies closes the assembled files that nobody reads: they keep the blocks
// of blobs that are evicted.
func (s *Store) dropAssemblies() {
	for _, key := range s.assemblies.Keys() {
		f, ok := s.assemblies.Peek(key)
		if !ok {
			continue
		}
		if _, n, err := lockedBy(f, readersByte, 1); err == nil && n == 0 {
			s.assemblies.Remove(key)
		}
	}
}

// readAssembled opens an assembled file once more for one who reads it, and takes
// the lock that says so: the kernel has it for as long as it reads by itself.
func readAssembled(f *os.File) (*os.File, error) {
	again, err := reopen(f)
	if err != nil {
		return nil, err
	}
	if err := lockShared(again); err != nil {
		return nil, errors.Join(err, again.Close())
	}
	return again, nil
}

// An assembly is a file that is being made.
type assembly struct {
	done chan struct{} // closed when file or err is set
	file *os.File      // one of Store.assemblies
	err  error
}

// beginAssembly has a file made, unless it is being made already.
func (s *Store) beginAssembly(key string, parts []Part) (*assembly, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if a, ok := s.assembling[key]; ok {
		return a, nil
	}
	a := &assembly{done: make(chan struct{})}
	s.assembling[key] = a
	s.fetching.Add(1)
	go func() {
		defer s.fetching.Done()
		a.err = guarded(func() (err error) {
			a.file, err = s.assemble(parts)
			return err
		})
		if a.err == nil {
			s.assemblies.Add(key, a.file)
		}
		s.mu.Lock()
		delete(s.assembling, key)
		s.mu.Unlock()
		close(a.done)
	}()
	return a, nil
}

// assemble makes a file without a name.
func (s *Store) assemble(parts []Part) (*os.File, error) {
	f, err := nameless(s.dir)
	if err != nil {
		s.noClones.Store(true)
		return nil, fmt.Errorf("%w: %w", ErrNotCloned, err)
	}
	if err := Assemble(s.life, f, parts); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			s.noClones.Store(true)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Clones says whether the directory's file system may share blocks between
// files: nothing to the contrary is known.
func (s *Store) Clones() bool { return !s.noClones.Load() }

// Intact says whether the blob is whole and its file as it was when its digest
// was checked: its bytes may be handed out as they are.
func (r *Reader) Intact() bool {
	c := r.content
	f := c.current()
	return c.verified() && f != nil && f.whole && c.store.stamped(c.key.digest, f.file)
}

// cloneTo makes dst share the blob's blocks at off.
func (c *content) cloneTo(dst *os.File, off int64) error {
	f := c.current()
	if f == nil || !f.whole || off%cloneBlock != 0 {
		return fmt.Errorf("blob %s: %w", c.key.digest, ErrNotCloned)
	}
	if err := cloneRange(dst, off, f.file, 0, c.key.size); err != nil {
		return fmt.Errorf("blob %s: %w: %w", c.key.digest, ErrNotCloned, err)
	}
	// After it was cloned: what changed before has changed the time.
	if !c.store.stamped(c.key.digest, f.file) {
		return fmt.Errorf("blob %s: %w: its file was changed", c.key.digest, ErrNotCloned)
	}
	return nil
}

// readFull fills p with the beginning of a blob.
func readFull(ctx context.Context, r *Reader, p []byte) (int, error) {
	n, err := r.ReadAt(ctx, p, 0)
	if n == len(p) {
		err = nil
	}
	return n, err
}
