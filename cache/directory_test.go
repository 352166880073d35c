package cache

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openStore(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want mode 0700", info.Mode(), err)
	}
	from, d := newSource(100)
	mustRead(t, openBlob(t, s, d, 100, from), from.content)
	if info, err := os.Stat(s.blobPath(d)); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("blob: %v; want mode 0400", err)
	}
	for _, name := range []string{"CACHEDIR.TAG", "oci-layout", "index.json", "version"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	write(t, filepath.Join(dir, "version"), []byte("99\n"))
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory of another version was opened")
	}
}

// TestOpenRefusesOthers has a directory that is somebody else's: it is neither
// filled nor closed to others.
func TestOpenRefusesOthers(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.tex"), nil)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("error %v, want one that says what is in it", err)
	}
	entries, err := os.ReadDir(dir)
	if info, statErr := os.Stat(dir); err != nil || statErr != nil || len(entries) != 1 || info.Mode().Perm() != 0o755 {
		t.Errorf("it has changed: %v, %v", entries, info.Mode())
	}
	// What a kill in the middle of Open leaves is ours.
	remove(t, filepath.Join(dir, "thesis.tex"))
	write(t, filepath.Join(dir, unfinished+"1"), nil)
	openStore(t, dir)
}

// TestDirectoryErrors has a directory that cannot be written to: it is read without,
// and the log names it.
func TestDirectoryErrors(t *testing.T) {
	const size = 2 * chunkSize
	from, d := newSource(size)
	var said bytes.Buffer
	clock := newTestClock()
	s := openStoreWith(t, t.TempDir(), Options{Now: clock.time, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	named := func() {
		t.Helper()
		s.fetching.Wait()
		if !strings.Contains(said.String(), "cache directory "+s.Dir()) {
			t.Errorf("the log does not name %s:\n%s", s.Dir(), &said)
		}
		said.Reset()
		clock.pass(2 * tellEvery)
	}
	r := openBlob(t, s, d, size, from)
	c := r.content
	only, err := os.Open(s.partialPath(testRepository, d))
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	_ = c.form.file.Close()
	c.form.file = only // as a file system that has become read-only
	c.mu.Unlock()
	mustRead(t, r, from.content)
	named()
	_ = r.Close()
	s.fetching.Wait()
	if err := os.RemoveAll(filepath.Join(s.Dir(), "partial")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Dir(), "partial"), nil)
	mustRead(t, openBlobOf(t, s, "b", d, size, from), from.content)
	named()
}

// TestDirectoryRemoved removes the directory below a reader, who reads on.
func TestDirectoryRemoved(t *testing.T) {
	const size = 2 << 20
	from, d := newSource(size)
	s := openStore(t, filepath.Join(t.TempDir(), "cache"))
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, from.content, 0, size/2)
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, from.content)
	mustRead(t, r, from.content) // the half that went with the directory
	if _, err := os.Stat(s.blobPath(d)); err != nil {
		t.Errorf("it is not kept in a new directory: %v", err)
	}
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, from.content)
	mustRead(t, openBlobOf(t, s, "b", d, size, from), from.content)
}

// TestRemovedWhileAsked removes the directory while a body is on its way.
func TestRemovedWhileAsked(t *testing.T) {
	const size = 10 * chunkSize
	honest, d := newSource(size)
	dir := filepath.Join(t.TempDir(), "cache")
	var once sync.Once
	from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
		once.Do(func() { _ = os.RemoveAll(dir) })
		return bytes.NewReader(honest.content[off : off+n]), off, nil
	})
	s := openStore(t, dir)
	mustRead(t, openBlob(t, s, d, size, from), honest.content)
}
