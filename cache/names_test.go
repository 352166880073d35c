package cache

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	r := openStore(t, dir).Repository("registry.example.com/a")
	for _, tag := range []string{"v2", "v1"} {
		if err := r.PutTag(tag, Tag{digestOf(nil), time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.PutManifest(digestOf(nil), "type", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "tags", unfinished+"1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := NamesIn(dir)
	if got, err := n.Repositories(); err != nil || !slices.Equal(got, []string{"registry.example.com/a"}) {
		t.Errorf("repositories %q, %v", got, err)
	}
	if got, err := n.Tags("registry.example.com/a"); err != nil || !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("tags %q, %v", got, err)
	}
	if got, err := n.Digests("registry.example.com/a"); err != nil || !slices.Equal(got, []v1.Hash{digestOf(nil)}) {
		t.Errorf("digests %v, %v", got, err)
	}
	if got, err := n.Tags("registry.example.com/b"); err != nil || len(got) > 0 {
		t.Errorf("of an unknown repository: tags %q, %v", got, err)
	}
}

// A store reads the name of a repository once, however often it is listed, and
// that of one that another process adds.
func TestRepositoriesAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	s, other := openStore(t, dir), openStore(t, dir)
	want := func(names ...string) {
		t.Helper()
		if got, err := s.Repositories(); err != nil || !slices.Equal(got, names) {
			t.Errorf("repositories %q, %v; want %q", got, err, names)
		}
	}
	a := s.Repository("registry.example.com/a")
	if err := a.Put(); err != nil {
		t.Fatal(err)
	}
	want("registry.example.com/a")
	remove(t, filepath.Join(a.dir, "name"))
	if err := other.Repository("registry.example.com/b").Put(); err != nil {
		t.Fatal(err)
	}
	want("registry.example.com/a", "registry.example.com/b")
	if err := os.RemoveAll(a.dir); err != nil {
		t.Fatal(err)
	}
	want("registry.example.com/b")
}

// Asking for names leaves no trace, nor does asking for the size.
func TestNamesOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if got, err := NamesIn(dir).Repositories(); err != nil || len(got) > 0 {
		t.Errorf("repositories %q, %v", got, err)
	}
	if got, err := UsageOf(dir); err != nil || got != (Usage{}) {
		t.Errorf("usage %+v, %v", got, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	write := func(path string, size, hole int64) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), iofs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size+hole); err != nil {
			t.Fatal(err)
		}
	}
	write(s.blobPath(digestOf([]byte("a"))), 1000, 0)
	write(s.blobPath(digestOf([]byte("b"))), 2000, 0)
	partial := s.partialPath("registry.example.com/a", digestOf([]byte("c")))
	write(partial, 4096, 1<<30)
	write(partial+".map", 100, 0)
	got, err := UsageOf(dir)
	if err != nil || got.Blobs != 2 || got.BlobBytes != 3000 || got.Partial != 1 {
		t.Errorf("usage %+v, %v", got, err)
	}
	if got.PartialBytes < 4196 || got.PartialBytes > 1<<20 {
		t.Errorf("%d bytes of a partial blob that is all hole but for 4096", got.PartialBytes)
	}
}
