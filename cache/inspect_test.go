package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// inspected is a directory with two whole blobs, the first of them used long ago, one
// partial blob, and what is known of a repository.
func inspected(t *testing.T) (s *Store, old, young, part v1.Hash) {
	t.Helper()
	clock := newTestClock()
	s = openStoreWith(t, t.TempDir(), Options{Now: clock.time})
	blobs := [3]v1.Hash{}
	for i := range 2 {
		var from *source
		from, blobs[i] = newSource(1<<20 + i)
		readOnce(t, s, from, blobs[i])
		clock.pass(24 * time.Hour)
	}
	from, d := newSource(1<<20 + 2)
	r := openBlob(t, s, d, 1<<20+2, from)
	mustReadAt(t, r, from.content, 0, 1<<19)
	_ = r.Close()
	s.fetching.Wait()
	repository := s.Repository(testRepository)
	if err := repository.PutTag("v1", Tag{d, clock.time()}); err != nil {
		t.Fatal(err)
	}
	if _, err := repository.PutManifest(d, "type", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	return s, blobs[0], blobs[1], d
}

func digestsOf(blobs []RemovedBlob) []string {
	found := []string{}
	for _, b := range blobs {
		found = append(found, b.Digest)
	}
	return found
}

func TestInfo(t *testing.T) {
	s, _, _, _ := inspected(t)
	info, err := InfoOf(s.dir, AutoFree)
	if err != nil {
		t.Fatal(err)
	}
	if info.Blobs != 2 || info.BlobBytes < 2<<20 || info.Partial != 1 || info.PartialBytes < 1<<19 || info.PartialBytes > 1<<20 {
		t.Errorf("%+v", info.Usage)
	}
	if info.Bytes < info.BlobBytes+info.PartialBytes || info.Repositories != 1 || info.Tags != 1 || info.Manifests != 1 || info.RecordBytes == 0 {
		t.Errorf("%+v", info)
	}
	if age := info.Newest.Sub(info.Oldest); age < 47*time.Hour || age > 49*time.Hour {
		t.Errorf("used between %s and %s", info.Oldest, info.Newest)
	}
	if info.Free <= 0 || info.Size < info.Free || info.LeastFree <= 0 || info.LeastFree > info.Size/10 {
		t.Errorf("%d of %d free, %d left alone", info.Free, info.Size, info.LeastFree)
	}
	missing := filepath.Join(t.TempDir(), "nosuch")
	if info, err := InfoOf(missing, AutoFree); err != nil || info.Bytes != 0 || exists(missing) {
		t.Errorf("of no directory: %+v, %v", info, err)
	}
}

func TestPrune(t *testing.T) {
	for name, c := range map[string]struct {
		pruning func(now time.Time) Pruning
		removed func(old, young, part v1.Hash) []v1.Hash
	}{
		"nothing": {
			func(time.Time) Pruning { return Pruning{} },
			func(_, _, _ v1.Hash) []v1.Hash { return nil },
		},
		"old ones": {
			func(now time.Time) Pruning { return Pruning{UnusedSince: now.Add(-36 * time.Hour)} },
			func(old, _, _ v1.Hash) []v1.Hash { return []v1.Hash{old} },
		},
		"to a size": {
			func(time.Time) Pruning { return Pruning{Limited: true, MaxBytes: 1 << 20} },
			func(old, young, _ v1.Hash) []v1.Hash { return []v1.Hash{old, young} },
		},
		"all": {
			func(time.Time) Pruning { return Pruning{Limited: true} },
			func(old, young, part v1.Hash) []v1.Hash { return []v1.Hash{old, young, part} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, old, young, part := inspected(t)
			before := takes(t, s.dir)
			r, err := Prune(t.Context(), s.dir, c.pruning(s.opts.Now()))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, d := range c.removed(old, young, part) {
				want = append(want, d.String())
				if exists(s.blobPath(d)) || exists(s.sumsPath(d)) || exists(s.partialPath(testRepository, d)) {
					t.Errorf("%s is there", d)
				}
			}
			if got := digestsOf(r.Removed); !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("removed %v, want %v", got, want)
			}
			if after := takes(t, s.dir); r.Left != after || r.Freed != before-after {
				t.Errorf("%d freed and %d left, it was %d and is %d", r.Freed, r.Left, before, after)
			}
		})
	}
}

// TestPruneStrays has what kills left: sums and a map without their data, and files that
// were being written long ago. They go, whatever else stays, and what is said to be left
// is what is there.
func TestPruneStrays(t *testing.T) {
	s, old, young, part := inspected(t)
	want := takes(t, s.dir)
	gone := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	strays := []string{s.sumsPath(gone), s.partialPath(testRepository, gone) + ".map"}
	for _, path := range strays {
		write(t, path, bytes.Repeat([]byte{1}, 100_000))
	}
	before := takes(t, s.dir)
	if before < want+200_000 {
		t.Errorf("%d bytes count, %d of them without strays", before, want)
	}
	writing := filepath.Join(s.dir, "sums", "sha256", unfinished+"1")
	write(t, writing, nil)
	long := time.Now().Add(-2 * abandonedAfter)
	if err := os.Chtimes(writing, long, long); err != nil {
		t.Fatal(err)
	}
	r, err := Prune(t.Context(), s.dir, Pruning{})
	if err != nil || len(r.Removed)+len(r.InUse) > 0 || r.Left != want || r.Freed != before-want {
		t.Errorf("%+v, %v; want %d left of %d", r, err, want, before)
	}
	for _, path := range append(strays, writing) {
		if exists(path) {
			t.Errorf("%s is there", path)
		}
	}
	if !exists(s.blobPath(old)) || !exists(s.blobPath(young)) || !exists(s.partialPath(testRepository, part)) {
		t.Error("a blob was removed")
	}
}

// TestClear: "Cleaning up beside a mount is safe: what is open stays." It has one blob
// open, in another store.
func TestClear(t *testing.T) {
	s, old, young, _ := inspected(t)
	from, _ := newSource(1 << 20)
	r := openBlob(t, openStore(t, s.dir), old, 1<<20, from)
	removal, err := Clear(t.Context(), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := digestsOf(removal.InUse); !slices.Equal(got, []string{old.String()}) || len(removal.Removed) != 2 || removal.Repositories != 1 {
		t.Errorf("%+v", removal)
	}
	if !exists(s.blobPath(old)) || exists(s.blobPath(young)) {
		t.Error("the wrong blob was removed")
	}
	mustRead(t, r, from.content)
	if requests, _ := from.counts(); requests > 0 {
		t.Errorf("%d requests for what was open", requests)
	}
	if names, err := s.Repositories(); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
	if err := s.Repository(testRepository).PutTag("v2", Tag{old, time.Now()}); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	s, old, young, part := inspected(t)
	v, err := Verify(t.Context(), s.dir)
	if err != nil || len(v.Damaged) > 0 || v.Blobs != 2 || v.Partial != 1 || v.Bytes < 2<<20+1<<19 {
		t.Fatalf("%+v, %v", v, err)
	}
	edit(t, s.blobPath(old), flip(500_000))
	edit(t, s.sumsPath(young), flip(30))
	edit(t, s.partialPath(testRepository, part), flip(5))
	if v, err = Verify(t.Context(), s.dir); err != nil {
		t.Fatal(err)
	}
	if len(v.Damaged) != 2 || !v.Damaged[0].Removed || !v.Damaged[1].Removed || !slices.Equal(v.Mended, []string{young.String()}) {
		t.Errorf("%+v", v)
	}
	for _, path := range []string{s.blobPath(old), s.sumsPath(old), s.partialPath(testRepository, part)} {
		if exists(path) {
			t.Errorf("%s is there", path)
		}
	}
	if v, err = Verify(t.Context(), s.dir); err != nil || len(v.Damaged)+len(v.Mended) > 0 || v.Blobs != 1 {
		t.Errorf("a second time: %+v, %v", v, err)
	}
	from, _ := newSource(1<<20 + 1)
	r := openBlob(t, openStore(t, s.dir), young, 1<<20+1, from)
	if !r.Intact() {
		t.Error("it is not known that it was verified")
	}
	mustRead(t, r, from.content)
	if requests, _ := from.counts(); requests > 0 {
		t.Error("it was fetched again")
	}
}

// TestInspectRefusesOthers has a directory that is somebody else's.
func TestInspectRefusesOthers(t *testing.T) {
	dir := t.TempDir()
	thesis := filepath.Join(dir, "blobs", "sha256", strings.Repeat("a", 64))
	if err := os.MkdirAll(filepath.Dir(thesis), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, thesis, nil)
	_, infoErr := InfoOf(dir, 0)
	_, pruneErr := Prune(t.Context(), dir, Pruning{Limited: true})
	_, clearErr := Clear(t.Context(), dir)
	_, verifyErr := Verify(t.Context(), dir)
	for _, err := range []error{infoErr, pruneErr, clearErr, verifyErr} {
		if err == nil {
			t.Error("it was taken for a cache")
		}
	}
	if !exists(thesis) {
		t.Error("what is in it was removed")
	}
}
