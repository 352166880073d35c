package cache

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep opens a directory in which kills left files that were being written,
// long ago and just now, beside those that were finished.
func TestSweep(t *testing.T) {
	const size = chunkSize
	dir := t.TempDir()
	from, d := newSource(size)
	first := openStore(t, dir)
	mustRead(t, openBlob(t, first, d, size, from), from.content)
	r := first.Repository(testRepository)
	if err := r.PutTag("v1", Tag{d, time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutManifest(d, "type", nil); err != nil {
		t.Fatal(err)
	}
	if err := r.PutReferrers(d, Referrers{}); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	var abandoned, kept []string
	age := func(path string) {
		old := time.Now().Add(-2 * abandonedAfter)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{dir, filepath.Dir(first.sumsPath(d)), r.dir, filepath.Join(r.dir, "tags"), filepath.Join(r.dir, "digests"), filepath.Join(r.dir, "referrers")} {
		entries, err := os.ReadDir(sub)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(sub, e.Name())
			age(path)
			kept = append(kept, path)
		}
		old, young := filepath.Join(sub, unfinished+"1"), filepath.Join(sub, unfinished+"2")
		write(t, old, nil)
		age(old)
		write(t, young, nil)
		abandoned, kept = append(abandoned, old), append(kept, young)
	}
	openStore(t, dir).fetching.Wait()
	for _, path := range abandoned {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
