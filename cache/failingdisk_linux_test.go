package cache

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// failSystemCall makes a system call that takes an offset, pread64 or pwrite64, fail in
// all of this process from now on, where the offset is at least from, in bytes: what a
// disk does that fails. It cannot be taken back. seccomp(2)
func failSystemCall(number uint32, from uint32, errno syscall.Errno) error {
	const (
		setModeFilter, syncThreads = 1, 1
		returnErrno, allow         = 0x00050000, 0x7fff0000
		offsetArgument             = 16 + 3*8 // in seccomp_data, its lower half
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetArgument},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: from, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: returnErrno | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // which both calls are made by
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, syncThreads, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	return nil
}

const failingVariable = "OCIDISTFS_CACHE_TEST_FAILING"

// TestFailingDisk: "A full or failing disk never fails a read: what cannot be kept is
// fetched each time." Each case is a process in which reading or writing files fails, from
// the middle of a blob on or everywhere, while it is fetched and after it was.
func TestFailingDisk(t *testing.T) {
	forFailingDisks(t, failingDisk.read)
}

// forFailingDisks runs the test again in a process for each case.
func forFailingDisks(t *testing.T, test func(c failingDisk, t *testing.T)) {
	t.Helper()
	for name, c := range map[string]failingDisk{
		"input/output error, written":               {unix.SYS_PWRITE64, unix.EIO, 0},
		"input/output error, written in the middle": {unix.SYS_PWRITE64, unix.EIO, 2 << 20},
		"over quota":                                 {unix.SYS_PWRITE64, unix.EDQUOT, 0},
		"over quota in the middle":                   {unix.SYS_PWRITE64, unix.EDQUOT, 2 << 20},
		"input/output error, read":                   {unix.SYS_PREAD64, unix.EIO, 0},
		"input/output error, read beyond the middle": {unix.SYS_PREAD64, unix.EIO, 2 << 20},
	} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			switch os.Getenv(failingVariable) {
			case "":
			case name:
				test(c, t)
				return
			default:
				return // another case's process
			}
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$", "-test.timeout=1m")
			command.Env = append(os.Environ(), failingVariable+"="+name)
			out, err := command.CombinedOutput()
			if strings.Contains(string(out), noFilter) {
				t.Skip(string(out))
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

type failingDisk struct {
	number uint32
	errno  syscall.Errno
	from   uint32
}

const noFilter = "system calls cannot be made to fail"

// read reads blobs in order and at random: one that was whole before, one that is half
// there, and one that is not there.
func (f failingDisk) read(t *testing.T) {
	const size = 4 << 20
	dir := t.TempDir()
	s := openStore(t, dir)
	whole, wholeDigest := newSource(size)
	readOnce(t, s, whole, wholeDigest)
	half, halfDigest := newSource(size + 1)
	r := openBlob(t, s, halfDigest, size+1, half)
	mustReadAt(t, r, half.content, 0, size/2+1<<20)
	_ = r.Close()
	fresh, freshDigest := newSource(size + 2)
	open := openBlob(t, s, wholeDigest, size, whole) // before it fails
	mustRead(t, open, whole.content)
	if err := failSystemCall(f.number, f.from, f.errno); err != nil {
		t.Fatal(noFilter, err)
	}
	mustRead(t, open, whole.content)
	for range 2 {
		readOnce(t, s, whole, wholeDigest)
		readOnce(t, s, half, halfDigest)
		readOnce(t, s, fresh, freshDigest)
	}
	random := rand.New(rand.NewPCG(4, 4))
	r = openBlob(t, s, freshDigest, size+2, fresh)
	prefetch(r, 0, size+2)
	for range 20 {
		mustReadAt(t, r, fresh.content, random.Int64N(size-100_000), 100_000)
	}
	for name, from := range map[string]*source{"whole": whole, "half": half, "fresh": fresh} {
		_, sent := from.counts()
		if from == whole && f.number == unix.SYS_PWRITE64 && sent != size {
			t.Errorf("what is there was fetched again, %d bytes", sent)
		}
		if sent > 6*size { // it was read four times
			t.Errorf("%s: %d bytes fetched of %d", name, sent, size)
		}
	}
	if s.Stats().Unkept == 0 {
		t.Error("nothing has failed")
	}
}

// TestFailingDiskAhead has a part of a blob fetched ahead, with nobody to read it: what is
// found not to be kept while it comes is given up soon, not asked for again and again.
func TestFailingDiskAhead(t *testing.T) {
	forFailingDisks(t, failingDisk.ahead)
}

func (f failingDisk) ahead(t *testing.T) {
	const size, part = 12 << 20, 8 << 20
	s := openStore(t, t.TempDir())
	honest, d := newSource(size)
	from := &hashedSource{Fetcher: honest}
	r := openBlob(t, s, d, size, from)
	from.content = r.content
	if err := failSystemCall(f.number, f.from, f.errno); err != nil {
		t.Fatal(noFilter, err)
	}
	prefetch(r, 0, part)
	s.fetching.Wait()
	if _, sent := honest.counts(); sent > 2*part {
		t.Errorf("%d bytes fetched of %d", sent, part)
	}
	mustRead(t, r, honest.content)
}

// A hashedSource ends its bodies when what came of them has been hashed.
type hashedSource struct {
	Fetcher
	content *content
}

func (s *hashedSource) BlobRange(ctx context.Context, d v1.Hash, off, n int64) (io.ReadCloser, int64, error) {
	body, start, err := s.Fetcher.BlobRange(ctx, d, off, n)
	if err != nil {
		return nil, 0, err
	}
	return &hashedBody{body, s.content}, start, nil
}

type hashedBody struct {
	io.ReadCloser
	content *content
}

func (b *hashedBody) Close() error {
	c := b.content
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.hashing {
		changed := c.changed
		c.mu.Unlock()
		<-changed
		c.mu.Lock()
	}
	return b.ReadCloser.Close()
}
