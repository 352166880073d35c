package cache

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A testClock is ahead of that of the files, and moved by the test.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock { return &testClock{now: time.Now().Add(time.Hour)} }

func (c *testClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// takes is what blobs take in a directory, as limits count it.
func takes(t testing.TB, dir string) int64 {
	t.Helper()
	items, err := inventory(dir)
	if err != nil {
		t.Fatal(err)
	}
	return bytesOf(items)
}

// takesAtOnce is the same while others write: what was there throughout, from one look
// to the next. A look by itself sees a blob twice that moves meanwhile, and what came
// after something else went.
func takesAtOnce(t testing.TB, dir string) (sum int64) {
	t.Helper()
	first, next := filesIn(t, dir), filesIn(t, dir)
	for file, n := range first {
		if m, ok := next[file]; ok {
			sum += min(n, m)
		}
	}
	return sum
}

// A keptFile is one file wherever it is: a number alone is used again.
type keptFile struct {
	ino  uint64
	name string
}

// filesIn are the bytes of the files that limits count.
func filesIn(t testing.TB, dir string) map[keptFile]int64 {
	t.Helper()
	files := map[keptFile]int64{}
	for _, top := range []string{"blobs", "sums", "partial", "layers"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, d iofs.DirEntry, err error) error {
			if errors.Is(err, iofs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, iofs.ErrNotExist) {
				return nil // it is gone by now
			}
			if err != nil {
				return err
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				files[keptFile{stat.Ino, filepath.Base(path)}] = bytesOnDisk(info)
			}
			return nil
		})
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return files
}

// readOnce opens a blob, reads all of it and closes it.
func readOnce(t testing.TB, s *Store, from *source, d v1.Hash) {
	t.Helper()
	r, err := s.Repository(testRepository).Blob(d, int64(len(from.content)), from).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, from.content)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	s.fetching.Wait()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestBound: "The cache is never larger than --cache-size: what was used longest ago
// goes first, and what is open stays." It fills a directory by many times its limit,
// looking again and again at one blob, which stays.
func TestBound(t *testing.T) {
	const limit, blob = 8 << 20, 1 << 20
	clock := newTestClock()
	dir := t.TempDir()
	s := openStoreWith(t, dir, Options{MaxBytes: limit, Now: clock.time})
	loved, lovedDigest := newSource(blob - 1)
	readOnce(t, s, loved, lovedDigest)
	var digests []v1.Hash
	for i := range 40 {
		clock.pass(2 * usedEvery)
		from, d := newSource(blob + i)
		digests = append(digests, d)
		readOnce(t, s, from, d)
		if n := takes(t, dir); n > limit {
			t.Fatalf("%d bytes after blob %d, the limit is %d", n, i, limit)
		}
		clock.pass(2 * usedEvery)
		_, before := loved.counts()
		readOnce(t, s, loved, lovedDigest)
		if _, sent := loved.counts(); sent != before {
			t.Fatalf("the blob that is used most was evicted at blob %d", i)
		}
	}
	last := len(digests) - 1
	if exists(s.blobPath(digests[0])) || exists(s.sumsPath(digests[0])) {
		t.Error("the blob that was used longest ago is there")
	}
	for i := last - 3; i <= last; i++ {
		if !exists(s.blobPath(digests[i])) {
			t.Errorf("blob %d of %d is not there", i, last)
		}
	}
	if n := takes(t, dir); n < limit/2 {
		t.Errorf("only %d bytes of %d are used", n, limit)
	}
	if n := s.Stats().Evicted; n < 30*blob {
		t.Errorf("%d bytes were evicted", n)
	}
}

// TestBoundIsHeldAtOpen opens a directory with a lower limit than it was filled with.
func TestBoundIsHeldAtOpen(t *testing.T) {
	const blob = 1 << 20
	dir := t.TempDir()
	first := openStore(t, dir)
	for i := range 8 {
		from, d := newSource(blob + i)
		readOnce(t, first, from, d)
	}
	openStoreWith(t, dir, Options{MaxBytes: 4 * blob}).fetching.Wait()
	if n := takes(t, dir); n > 4*blob {
		t.Errorf("%d bytes, the limit is %d", n, 4*blob)
	}
}

// TestBoundOfProcesses has several stores fill one directory at once. Each may be
// ahead of the others by what it writes between two looks.
func TestBoundOfProcesses(t *testing.T) {
	const limit, blob, stores = 8 << 20, 512 << 10, 3
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range stores {
		s := openStoreWith(t, dir, Options{MaxBytes: limit})
		group.Go(func() {
			for k := range 20 {
				from, d := newSource(blob + i*100 + k)
				readOnce(t, s, from, d)
			}
		})
	}
	filled := make(chan struct{})
	go func() { group.Wait(); close(filled) }()
	most := int64(0)
	for done := false; !done; {
		select {
		case <-filled:
			done = true
		default:
		}
		most = max(most, takesAtOnce(t, dir))
	}
	if allowed := int64(limit + stores*minStep); most > allowed {
		t.Errorf("%d bytes at the most, the limit is %d and %d may be ahead", most, limit, allowed-limit)
	}
}

// TestOpenStays has readers, in this process and in another, of blobs that would be
// evicted first: whole ones and one of which a part is there.
func TestOpenStays(t *testing.T) {
	const limit, blob = 4 << 20, 1 << 20
	clock := newTestClock()
	dir := t.TempDir()
	s, other := openStoreWith(t, dir, Options{MaxBytes: limit, Now: clock.time}), openStore(t, dir)
	whole, wholeDigest := newSource(blob - 1)
	elsewhere, elsewhereDigest := newSource(blob - 2)
	partial, partialDigest := newSource(blob - 3)
	wholeReader := openBlob(t, s, wholeDigest, blob-1, whole)
	mustRead(t, wholeReader, whole.content)
	mustRead(t, openBlob(t, other, elsewhereDigest, blob-2, elsewhere), elsewhere.content)
	partialReader := openBlob(t, other, partialDigest, blob-3, partial)
	mustReadAt(t, partialReader, partial.content, 0, blob/4)
	for i := range 20 {
		clock.pass(2 * usedEvery)
		from, d := newSource(blob + i)
		readOnce(t, s, from, d)
	}
	for _, path := range []string{s.blobPath(wholeDigest), s.blobPath(elsewhereDigest), s.partialPath(testRepository, partialDigest)} {
		if !exists(path) {
			t.Errorf("%s was open and is gone", path)
		}
	}
	if !wholeReader.Intact() {
		t.Error("what was open and read is no longer as it was verified")
	}
	mustRead(t, wholeReader, whole.content)
	mustRead(t, partialReader, partial.content)
	if n := s.Stats().Evicted; n < 10*blob {
		t.Errorf("%d bytes were evicted", n)
	}
}

// TestUseKeepsTheStamp: that a blob is used moves neither its change time nor the
// stamp of its sums, and other processes see it.
func TestUseKeepsTheStamp(t *testing.T) {
	clock := newTestClock()
	s := openStoreWith(t, t.TempDir(), Options{Now: clock.time})
	from, d := newSource(5 * chunkSize)
	readOnce(t, s, from, d)
	file, err := os.Open(s.blobPath(d))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	before := changeTime(file)
	clock.pass(24 * time.Hour)
	r := openBlob(t, s, d, 5*chunkSize, from)
	if changeTime(file) != before || !s.stamped(d, file) || !r.Intact() {
		t.Error("the blob was touched")
	}
	items, err := inventory(s.dir)
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	if off := items[0].used.Sub(clock.time()).Abs(); off > time.Second {
		t.Errorf("it counts as used %s off", off)
	}
}

// TestEvictionLeavesNoStrays removes what a kill in the middle of an eviction leaves.
func TestEvictionLeavesNoStrays(t *testing.T) {
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: 1 << 20})
	from, d := newSource(chunkSize)
	readOnce(t, s, from, d)
	remove(t, s.blobPath(d))
	big, bigDigest := newSource(900 << 10)
	readOnce(t, s, big, bigDigest)
	other, otherDigest := newSource(901 << 10)
	readOnce(t, s, other, otherDigest)
	if exists(s.sumsPath(d)) {
		t.Error("sums without a blob are left")
	}
}

// TestEvictedWhileOpened evicts a blob between the two steps of opening it: its
// reader takes the blob for one that is not there.
func TestEvictedWhileOpened(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	from, d := newSource(1 << 20)
	readOnce(t, s, from, d)
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := Clear(t.Context(), dir); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 100 {
		r := openBlob(t, s, d, 1<<20, from)
		mustReadAt(t, r, from.content, 300_000, 1000)
		_ = r.Close()
	}
	close(stop)
	group.Wait()
}

// TestEvictorThatIsStopped has another process begin to evict and do nothing: the
// limit holds all the same after a while.
func TestEvictorThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, blob = 4 << 20, 1 << 20
		s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit})
		unlock, locked, err := tryLockExclusive(filepath.Join(s.dir, lockName), evictorByte)
		if err != nil || !locked {
			t.Fatal(err)
		}
		defer unlock()
		for i := range 20 {
			from, d := newSource(blob + i)
			readOnce(t, s, from, d)
			time.Sleep(time.Second) // of the bubble's clock
		}
		if n := takes(t, s.dir); n > limit {
			t.Errorf("%d bytes, the limit is %d", n, limit)
		}
	})
}
