package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAssemble makes files of literal bytes, a small blob and a large one: where
// the file system can it shares blocks, elsewhere it says so. TestFilesystems of
// cmd/ocidistfs runs it on both kinds, by TMPDIR.
func TestAssemble(t *testing.T) {
	const size = 300_000
	from, d := newSource(size)
	small := &source{content: from.content[:1000]}
	dir := t.TempDir()
	s := openStore(t, dir)
	large := openBlob(t, s, d, size, from)
	little := openBlob(t, s, digestOf(small.content), len(small.content), small)
	head := bytes.Repeat([]byte("head"), (cloneBlock-1000)/4)
	parts := []Part{{Bytes: head}, {Blob: little}, {Blob: large}, {Bytes: []byte("tail")}}
	want := bytes.Join([][]byte{head, small.content, from.content, []byte("tail")}, nil)
	dst, err := os.Create(filepath.Join(dir, "dst"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dst.Close() }()
	can := s.CanClone(dst)
	t.Logf("blocks are shared: %t", can)

	if err := Assemble(t.Context(), dst, parts); !errors.Is(err, ErrNotCloned) {
		t.Errorf("of a blob that is not there: error %v, want ErrNotCloned", err)
	}
	if err := dst.Truncate(0); err != nil {
		t.Fatal(err)
	}
	mustRead(t, large, from.content)
	if !large.Intact() {
		t.Error("what was verified just now is not intact")
	}
	err = Assemble(t.Context(), dst, parts)
	if !can {
		if !errors.Is(err, ErrNotCloned) {
			t.Errorf("error %v, want ErrNotCloned", err)
		}
		if _, err := s.Assembled(t.Context(), "a", parts); !errors.Is(err, ErrNotCloned) || s.Clones() {
			t.Errorf("error %v, may clone %t", err, s.Clones())
		}
		return
	}
	if got, readErr := os.ReadFile(dst.Name()); err != nil || readErr != nil || !bytes.Equal(got, want) {
		t.Errorf("it has %d bytes, want %d; errors %v, %v", len(got), len(want), err, readErr)
	}

	gone, leave := context.WithCancel(t.Context())
	leave()
	if f, err := s.Assembled(gone, "left", parts); err == nil {
		_ = f.Close() // it was quicker
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("for one who leaves: error %v", err)
	}
	var first os.FileInfo
	for range 2 {
		f, err := s.Assembled(t.Context(), "a", parts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, want %d; error %v", len(got), len(want), err)
		}
		info, err := f.Stat()
		if err != nil || first != nil && !os.SameFile(first, info) {
			t.Errorf("the same key is another file, or error %v", err)
		}
		first = info
		if s.dropAssemblies(); s.assemblies.Len() == 0 {
			t.Error("a file that is read was closed to make room")
		}
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("it can be written to")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if s.dropAssemblies(); s.assemblies.Len() > 0 {
		t.Errorf("%d files that nobody reads keep their blocks", s.assemblies.Len())
	}
	if err := Assemble(t.Context(), dst, []Part{{Bytes: []byte("x")}, {Blob: large}}); !errors.Is(err, ErrNotCloned) {
		t.Errorf("of a blob at no block's beginning: error %v, want ErrNotCloned", err)
	}
}

// TestIntact changes what a blob's file is after it was verified: its bytes are
// no longer handed out as they are, by whichever store.
func TestIntact(t *testing.T) {
	const size = 100_000
	for name, change := range map[string]func(t *testing.T, blob, sums string){
		"written to": func(t *testing.T, blob, _ string) { edit(t, blob, flip(5000)) },
		"touched": func(t *testing.T, blob, _ string) {
			if err := os.Chtimes(blob, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		},
		"without sums": func(t *testing.T, _, sums string) { remove(t, sums) },
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			dir := t.TempDir()
			s := openStore(t, dir)
			r := openBlob(t, s, d, size, from)
			if r.Intact() {
				t.Error("what is not there is intact")
			}
			mustRead(t, r, from.content)
			if other := openBlob(t, openStore(t, dir), d, size, from); !r.Intact() || !other.Intact() {
				t.Errorf("intact: %t, and in another store %t", r.Intact(), other.Intact())
			}
			change(t, s.blobPath(d), s.sumsPath(d))
			if r.Intact() {
				t.Error("it is intact all the same")
			}
		})
	}
}
