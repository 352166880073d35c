package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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

// TestDirectoryReplaced puts something else in the place of the directory below a
// reader: he reads on, and it is left as it is.
func TestDirectoryReplaced(t *testing.T) {
	const size = 2 << 20
	for name, replace := range map[string]func(dir string) error{
		"a file": func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a directory of somebody else's": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600))
		},
		"a link to nowhere": func(dir string) error { return os.Symlink("/proc/nosuch", dir) },
	} {
		t.Run(name, func(t *testing.T) {
			from, d := newSource(size)
			s := openStoreWith(t, filepath.Join(t.TempDir(), "cache"), Options{MaxBytes: 10 << 20})
			r := openBlob(t, s, d, size, from)
			mustReadAt(t, r, from.content, 0, size/2)
			if err := os.RemoveAll(s.Dir()); err != nil {
				t.Fatal(err)
			}
			if err := replace(s.Dir()); err != nil {
				t.Fatal(err)
			}
			mustRead(t, r, from.content)
			other, otherDigest := newSource(size + 1)
			mustRead(t, openBlob(t, s, otherDigest, size+1, other), other.content)
			mustRead(t, openBlobOf(t, s, "b", d, size, from), from.content)
			if err := s.Repository("b").PutTag("v1", Tag{d, time.Now()}); err == nil {
				t.Error("a tag was kept there")
			}
			entries, _ := os.ReadDir(s.Dir())
			for _, e := range entries {
				if e.Name() != "thesis.tex" {
					t.Errorf("%s was made in it", e.Name())
				}
			}
		})
	}
}

// TestRemadeDirectoryIsOurs removes the directory and keeps a record: it is a cache
// again, also where the removal left something, as it does when it is written to
// meanwhile.
func TestRemadeDirectoryIsOurs(t *testing.T) {
	for name, left := range map[string]string{"all is gone": "", "something is left": "partial/x", "more is left": "refs/x"} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, filepath.Join(t.TempDir(), "cache"))
			if err := os.RemoveAll(s.Dir()); err != nil {
				t.Fatal(err)
			}
			if left != "" {
				if err := os.MkdirAll(filepath.Join(s.Dir(), left), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			from, d := newSource(100)
			if err := s.Repository(testRepository).PutTag("v1", Tag{d, time.Now()}); err != nil {
				t.Error(err)
			}
			mustRead(t, openBlob(t, s, d, 100, from), from.content)
			again := openStore(t, s.Dir())
			if _, err := again.Repository(testRepository).Tag("v1"); err != nil {
				t.Error(err)
			}
			if !exists(again.blobPath(d)) {
				t.Error("the blob is not kept")
			}
		})
	}
}

// TestLayoutOfOthers: an OCI layout that somebody else made is no cache.
func TestLayoutOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("blobs alone were taken for a cache")
	}
	write(t, filepath.Join(dir, "oci-layout"), []byte(ociLayout))
	write(t, filepath.Join(dir, "index.json"), []byte(ociIndex))
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("an OCI layout was taken for a cache")
	}
}
