package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// keepsNothing are options by which everything is over the limit: nothing is kept,
// as on a disk that is full of what is open.
var keepsNothing = Options{ErrorTTL: time.Nanosecond, Now: later, MaxBytes: 1}

// TestUnkept: "A full or failing disk never fails a read: what cannot be kept is
// fetched each time." It reads blobs of many sizes in order and at random.
func TestUnkept(t *testing.T) {
	for _, size := range []int{0, 1, chunkSize, windowSize - 1, windowSize, windowSize + 1, 3*windowSize + 77, 70 * windowSize} {
		for _, rangeless := range []bool{false, true} {
			if rangeless && size > 4*windowSize {
				continue
			}
			from, d := newSource(size)
			from.rangeless = rangeless
			s := openStoreWith(t, t.TempDir(), keepsNothing)
			r := openBlob(t, s, d, size, from)
			mustRead(t, r, from.content)
			random := rand.New(rand.NewPCG(1, uint64(size)))
			for range min(20, size) {
				off := random.Int64N(int64(size))
				mustReadAt(t, r, from.content, off, min(random.Int64N(300_000), int64(size)-off))
			}
			mustRead(t, r, from.content)
			if n := takes(t, s.dir); n > chunkSize {
				t.Errorf("%d bytes are kept of %d", n, size)
			}
			if n := s.windows.n; n > maxWindows {
				t.Errorf("%d windows are in memory", n)
			}
			_ = r.Close()
			s.fetching.Wait()
			if n := s.windows.n; n != 0 {
				t.Errorf("%d windows are in memory after the last reader", n)
			}
		}
	}
}

// TestUnkeptInOrder reads through a blob that is larger than the cache, of which the
// beginning is kept. "A blob larger than the cache takes no more than a quarter of it."
func TestUnkeptInOrder(t *testing.T) {
	const size, limit = 100 << 20, 20 << 20
	from, d := newSource(size)
	now := later() // and stays, so that the disk is not tried again
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit, Now: func() time.Time { return now }})
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content)
	// What was in hand when the limit was reached comes twice. The hash is never behind
	// the reader, so that nothing comes again for it.
	if _, sent := from.counts(); sent > size+bufferChunks*chunkSize {
		t.Errorf("%d bytes fetched of %d", sent, size)
	}
	if n := takes(t, s.dir); n > limit/oversizeParts+bufferChunks*chunkSize || n < limit/oversizeParts-2*bufferChunks*chunkSize {
		t.Errorf("%d bytes are kept, the limit is %d", n, limit)
	}
	if n := s.Stats().Unkept; n < size-limit {
		t.Errorf("%d bytes count as not kept", n)
	}
	_, before := from.counts()
	mustReadAt(t, r, from.content, 0, limit/oversizeParts-2*bufferChunks*chunkSize)
	if _, sent := from.counts(); sent != before {
		t.Error("what is kept was fetched again")
	}
}

// TestLargerThanTheCache reads a blob that is larger than the cache with others in it,
// several times, in order and at random: most of them stay.
func TestLargerThanTheCache(t *testing.T) {
	const limit, size = 32 << 20, 48 << 20
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: limit})
	large, largeDigest := newSource(size)
	var small []*source
	var digests []v1.Hash
	for i := range 5 {
		from, d := newSource(4<<20 + i)
		readOnce(t, s, from, d)
		small, digests = append(small, from), append(digests, d)
	}
	for range 2 {
		r := openBlob(t, s, largeDigest, size, large)
		prefetch(r, 0, size)
		mustRead(t, r, large.content)
		random := rand.New(rand.NewPCG(2, 2))
		for range 20 {
			mustReadAt(t, r, large.content, random.Int64N(size-1000), 1000)
		}
		_ = r.Close()
		s.fetching.Wait()
	}
	for i, from := range small {
		_, before := from.counts()
		readOnce(t, s, from, digests[i])
		if _, sent := from.counts(); sent != before {
			t.Errorf("blob %d of %d was evicted for one that cannot be kept", i, len(small))
		}
	}
	if n := takes(t, s.dir); n > limit {
		t.Errorf("%d bytes are kept, the limit is %d", n, limit)
	}
	// Where nothing else is in the way, what is left of it is of use: of each part that
	// was asked for at once, some.
	requests, before := large.counts()
	r := openBlob(t, s, largeDigest, size, large)
	mustRead(t, r, large.content)
	if again, sent := large.counts(); sent-before > size-limit/oversizeParts/2 {
		t.Errorf("%d requests, %d bytes of %d where a part was there", again-requests, sent-before, int64(size))
	}
}

// TestUnkeptRangeless reads through a blob of a source that knows no ranges: one body
// is enough, wherever the reading begins.
func TestUnkeptRangeless(t *testing.T) {
	const size = 90 * windowSize
	from, d := newSource(size)
	from.rangeless = true
	r := openBlob(t, openStoreWith(t, t.TempDir(), keepsNothing), d, size, from)
	mustReadAt(t, r, from.content, 10*windowSize, 1)
	mustRead(t, r, from.content)
	// The windows up to the tenth are not kept, and come again for who begins there.
	if requests, sent := from.counts(); requests > 2 || sent > size+11*windowSize {
		t.Errorf("%d requests, %d bytes of %d", requests, sent, size)
	}
}

// TestUnkeptIsVerified has a source of other bytes: whoever reads in order, alone or
// not, has an error before the end.
func TestUnkeptIsVerified(t *testing.T) {
	const size = 10*windowSize + 100
	for name, at := range map[string]int{"at the beginning": 0, "in the middle": size / 2, "at the end": size - 1} {
		t.Run(name, func(t *testing.T) {
			honest, d := newSource(size)
			lying := &source{content: flip(at)(bytes.Clone(honest.content))}
			s := openStoreWith(t, t.TempDir(), keepsNothing)
			r := openBlob(t, s, d, size, lying)
			got, err := readAll(t, r)
			if !errors.Is(err, ErrMismatch) || len(got) == size {
				t.Errorf("%d of %d bytes, error %v; want ErrMismatch before the end", len(got), size, err)
			}
			if s.Stats().Mismatches == 0 {
				t.Error("it was not counted")
			}
			mustRead(t, openBlobOf(t, s, "b", d, size, honest), honest.content)
		})
	}
}

// TestUnkeptSourceChangesItsMind has a source that sends the right bytes first, and
// others when it is asked again.
func TestUnkeptSourceChangesItsMind(t *testing.T) {
	const size = 80 * windowSize // more than memory has
	honest, d := newSource(size)
	var mu sync.Mutex
	seen := map[int64]bool{}
	from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
		mu.Lock()
		defer mu.Unlock()
		b := bytes.Clone(honest.content[off : off+n])
		if seen[off] {
			b[0] ^= 1
		}
		seen[off] = true
		return bytes.NewReader(b), off, nil
	})
	r := openBlob(t, openStoreWith(t, t.TempDir(), keepsNothing), d, size, from)
	mustRead(t, r, honest.content)
	p := make([]byte, 10)
	if _, err := r.ReadAt(t.Context(), p, 0); !errors.Is(err, ErrMismatch) {
		t.Errorf("read %x where the blob has %x, error %v", p, honest.content[:10], err)
	}
}

// TestUnkeptLast reads all but one window, backwards, and then that: it comes when
// the digest was checked, which costs what went by.
func TestUnkeptLast(t *testing.T) {
	const size = 6 * windowSize
	for _, lies := range []bool{false, true} {
		from, d := newSource(size)
		content := from.content
		if lies {
			from.content = flip(size - 1)(bytes.Clone(content))
		}
		r := openBlob(t, openStoreWith(t, t.TempDir(), keepsNothing), d, size, from)
		for n := int64(4); n >= 0; n-- {
			mustReadAt(t, r, content, n*windowSize, windowSize)
		}
		p := make([]byte, windowSize)
		_, err := r.ReadAt(t.Context(), p, 5*windowSize)
		if lies != errors.Is(err, ErrMismatch) || !lies && !bytes.Equal(p, content[5*windowSize:]) {
			t.Errorf("lies: %t; error %v", lies, err)
		}
	}
}

// TestUnkeptFails has a source that fails, is silent, and recovers.
func TestUnkeptFails(t *testing.T) {
	const size = 3 * windowSize
	from, d := newSource(size)
	silent := newGate()
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		switch request {
		case 1:
			return nil, errInjected
		case 2:
			return io.MultiReader(io.LimitReader(body, 5000), silent), nil
		case 3:
			panic("injected")
		}
		return io.LimitReader(body, 100_000), nil
	}
	r := openBlob(t, openStoreWith(t, t.TempDir(), keepsNothing), d, size, from)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, errInjected) {
		t.Errorf("error %v, want the source's", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-silent.waits; cancel(errInjected) }()
	if _, err := r.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, errInjected) {
		t.Errorf("error %v, want the cause of the context", err)
	}
	silent.pass()
	for range 5 { // the panic is one of these
		_, _ = readAll(t, r)
	}
	mustRead(t, r, from.content)
}

// TestUnkeptMemory has more readers than there are windows, all over several blobs.
func TestUnkeptMemory(t *testing.T) {
	const size, blobs, readers = 25 * windowSize, 4, 200
	s := openStoreWith(t, t.TempDir(), keepsNothing)
	most := 0
	var group sync.WaitGroup
	for i := range blobs {
		from, d := newSource(size + i)
		r := openBlob(t, s, d, size+i, from)
		for k := range readers / blobs {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(k)))
				for range 5 {
					mustReadAt(t, r, from.content, random.Int64N(size-100_000), 100_000)
					s.windows.mu.Lock()
					most = max(most, s.windows.n)
					s.windows.mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	if most > maxWindows {
		t.Errorf("%d windows are in memory", most)
	}
}

// TestUnkeptMemoryIsBounded has more readers than there are windows wait for a source
// that is silent.
func TestUnkeptMemoryIsBounded(t *testing.T) {
	const size = 100 * windowSize
	honest, d := newSource(size)
	s := openStoreWith(t, t.TempDir(), keepsNothing)
	asked, release := make(chan struct{}, 1000), make(chan struct{})
	first := true
	from := fetch(func(_ context.Context, off, n int64) (io.Reader, int64, error) {
		s.windows.mu.Lock()
		in := s.windows.n
		s.windows.mu.Unlock()
		if in > maxWindows {
			t.Errorf("%d windows are in memory", in)
		}
		if first { // by which it is known to know ranges
			first = false
			return bytes.NewReader(honest.content[off : off+n]), off, nil
		}
		asked <- struct{}{}
		<-release
		return bytes.NewReader(honest.content[off : off+n]), off, nil
	})
	r := openBlob(t, s, d, size, from)
	mustReadAt(t, r, honest.content, size-1, 1)
	var group sync.WaitGroup
	for i := range int64(99) {
		group.Go(func() { mustReadAt(t, r, honest.content, i*windowSize+5, 100) })
	}
	for range maxWindows {
		<-asked
	}
	close(release)
	group.Wait()
}

// TestKeptOthers has a blob that was read and checked without keeping it, and then a
// chunk of it kept that is another: that is no part of what was checked.
func TestKeptOthers(t *testing.T) {
	const size, limit = 3 * windowSize, 4 * windowSize
	clock := newTestClock()
	dir := t.TempDir()
	blocking, other := newSource(limit - minStep)
	unlimited := openStore(t, dir)
	blocker := openBlob(t, unlimited, other, len(blocking.content), blocking)
	mustRead(t, blocker, blocking.content)
	honest, d := newSource(size)
	from := &source{content: bytes.Clone(honest.content)}
	s := openStoreWith(t, dir, Options{Now: clock.time, MaxBytes: limit})
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, honest.content)
	if r.Verified() {
		t.Fatal("it was kept")
	}
	_ = blocker.Close()
	unlimited.fetching.Wait()
	clock.pass(2 * keepAgain)
	flip(size - 1)(from.content)
	if _, err := r.ReadAt(t.Context(), make([]byte, 1), size-1); !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want ErrMismatch", err)
	}
}

// TestUnkeptAfterDamage has the beginning of a blob kept and hashed, and lost: what
// comes in its place is not what was hashed.
func TestUnkeptAfterDamage(t *testing.T) {
	const size, limit = 12 * windowSize, 6 * windowSize
	clock := newTestClock()
	honest, d := newSource(size)
	from := &source{content: bytes.Clone(honest.content)}
	s := openStoreWith(t, t.TempDir(), Options{Now: clock.time, MaxBytes: limit})
	r := openBlob(t, s, d, size, from)
	for off := int64(0); off < limit+2*windowSize; off += windowSize / 2 {
		mustReadAt(t, r, honest.content, off, windowSize/2)
	}
	r.content.mu.Lock()
	u := r.content.unkept
	r.content.mu.Unlock()
	if u == nil || u.hashed.Load() < windowSize {
		t.Fatal("nothing was hashed, or all is kept")
	}
	file, err := os.OpenFile(s.partialPath(testRepository, d), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt([]byte{^honest.content[100]}, 100); err != nil {
		t.Fatal(err)
	}
	flip(200)(from.content)
	if got, err := readAll(t, r); !errors.Is(err, ErrMismatch) || len(got) == size {
		t.Errorf("%d of %d bytes, error %v; want ErrMismatch before the end", len(got), size, err)
	}
}

// TestKeptAgain has a disk that is full for a while.
func TestKeptAgain(t *testing.T) {
	const size = 8 * windowSize
	clock := newTestClock()
	dir := t.TempDir()
	blocking, other := newSource(3 * windowSize)
	s := openStoreWith(t, dir, Options{Now: clock.time, MaxBytes: 10 * windowSize})
	unlimited := openStore(t, dir)
	blocker := openBlob(t, unlimited, other, 3*windowSize, blocking)
	mustRead(t, blocker, blocking.content)
	from, d := newSource(size)
	r := openBlob(t, s, d, size, from)
	mustRead(t, r, from.content)
	if r.Verified() {
		t.Fatal("it was kept")
	}
	_ = blocker.Close()
	unlimited.fetching.Wait()
	clock.pass(2 * keepAgain)
	mustRead(t, r, from.content)
	mustRead(t, r, from.content)
	if !r.Verified() || !exists(s.blobPath(d)) {
		t.Error("it is not kept although there is room")
	}
}

// TestModelBounded reads several blobs at random, from stores with a limit below what
// they need, while others prune and clear: what is read is right, and nothing fails.
func TestModelBounded(t *testing.T) {
	const readers, reads, limit = 8, 80, 3 << 20
	dir := t.TempDir()
	opts := Options{ErrorTTL: time.Nanosecond, MaxBytes: limit}
	stores := []*Store{openStoreWith(t, dir, opts), openStoreWith(t, dir, opts)}
	var sources []*source
	for _, size := range []int{700_000, 1<<20 + 5, 2<<20 + 77, 5 << 20} {
		from, _ := newSource(size)
		sources = append(sources, from)
	}
	var group sync.WaitGroup
	for i := range uint64(readers) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(4, i))
			for range 6 {
				from := sources[random.IntN(len(sources))]
				readStrictly(t, random, stores[i%2], from, reads/6)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for random := rand.New(rand.NewPCG(5, 5)); ; {
		select {
		case <-done:
			for _, s := range stores {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if n := takesAtOnce(t, dir); n > limit+2*minStep {
				t.Errorf("%d bytes, the limit is %d", n, limit)
			}
			return
		default:
		}
		switch random.IntN(3) {
		case 0:
			_, err := Clear(t.Context(), dir)
			if err != nil {
				t.Error(err)
			}
		case 1:
			if _, err := Prune(t.Context(), dir, Pruning{Limited: true, MaxBytes: random.Int64N(limit)}); err != nil {
				t.Error(err)
			}
		default:
			v, err := Verify(t.Context(), dir)
			if err != nil || len(v.Damaged) > 0 {
				t.Error(v.Damaged, err)
			}
		}
	}
}

// readStrictly reads a blob at random. There is no excuse for an error.
func readStrictly(t *testing.T, random *rand.Rand, s *Store, from *source, reads int) {
	size := int64(len(from.content))
	r, err := s.Repository("a").Blob(digestOf(from.content), size, from).Open(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = r.Close() }()
	for range reads {
		off := random.Int64N(size)
		if random.IntN(4) == 0 {
			prefetch(r, off, random.Int64N(size))
		}
		mustReadAt(t, r, from.content, off, min(random.Int64N(300_000), size-off))
	}
}

// tmpfs mounts a small file system in memory until the test ends. Only root can.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts it")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs: %v: %s", err, out) // a skip would hide what it is for
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// TestFullDisk has a disk that is smaller than one blob, without any limit set, and
// then with what was read first in the way of what is read now.
func TestFullDisk(t *testing.T) {
	disk := tmpfs(t, "16m")
	s, err := Open(filepath.Join(disk, "cache"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	from, d := newSource(40 << 20)
	for range 2 {
		readOnce(t, s, from, d)
	}
	for i := range 5 { // each has room, if what was before goes
		small, smallDigest := newSource(6<<20 + i)
		readOnce(t, s, small, smallDigest)
		_, before := small.counts()
		readOnce(t, s, small, smallDigest)
		if _, sent := small.counts(); sent != before {
			t.Errorf("blob %d was not kept", i)
		}
	}
}

// TestMinFree leaves some of a disk free.
func TestMinFree(t *testing.T) {
	const least = 8 << 20
	disk := tmpfs(t, "32m")
	s, err := Open(filepath.Join(disk, "cache"), Options{MinFree: least})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for i := range 20 {
		from, d := newSource(4<<20 + i)
		readOnce(t, s, from, d)
		free, _, err := diskOf(disk)
		if err != nil || free < least {
			t.Fatalf("%d bytes are free, want %d: %v", free, least, err)
		}
	}
	if free, _, _ := diskOf(disk); free > 20<<20 {
		t.Errorf("%d bytes are free: nothing is kept", free)
	}
}

// TestReadOnlyDisk has a directory on a file system that has become read-only, before
// it is opened and after.
func TestReadOnlyDisk(t *testing.T) {
	const size = 3 << 20
	disk := tmpfs(t, "32m")
	dir := filepath.Join(disk, "cache")
	known, knownDigest := newSource(size)
	first, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	readOnce(t, first, known, knownDigest)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	live, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "remount,ro", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	begun, err := Open(dir, Options{})
	if err != nil {
		t.Fatal("a directory that is read-only was refused: ", err)
	}
	for _, s := range []*Store{live, begun} {
		_, before := known.counts()
		readOnce(t, s, known, knownDigest)
		if _, sent := known.counts(); sent != before {
			t.Error("what is there was fetched again")
		}
		from, d := newSource(size + 1)
		readOnce(t, s, from, d)
		readOnce(t, s, from, d)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNoDirectory has one that cannot be made.
func TestNoDirectory(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip(err)
	}
	s := openStoreWith(t, "/proc/nosuch/cache", Options{})
	from, d := newSource(3<<20 + 1)
	readOnce(t, s, from, d)
	r := s.Repository(testRepository)
	if err := r.PutTag("v1", Tag{d, time.Now()}); err == nil {
		t.Error("a tag was kept")
	}
	if _, err := r.PutManifest(d, "type", nil); err == nil {
		t.Error("a manifest was kept")
	}
	if names, err := s.Repositories(); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
}
