//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

// The process that serves a mount must not touch it: a read that waits for its
// own process can keep that from ending, for ever. So what the tests do in a
// mount besides running commands, they do in a process of their own, which is
// the test's binary started again.
const (
	readerVariable = "OCIDISTFS_TEST_READER"
	// readAnywhere reads a file at many offsets and compares it with a copy that
	// is made by then: FILE COPY.
	readAnywhere = "anywhere"
	// readBytes holds a file to the rules of readers, byte by byte: FILE.
	readBytes = "bytes"
	// readMapped maps a file and writes its first bytes: FILE.
	readMapped = "mapped"
	// readSignalled reads a file under signals and writes how long it is: FILE.
	readSignalled = "signalled"
	// readAttributes asks for extended attributes, and writes that of the last error
	// and, before it, whether it is listed: PATH.
	readAttributes = "attributes"
	// dumpAttributes writes all of them, a line each.
	dumpAttributes = "all attributes"
	// readHalves reads half of a file, says so, waits for a line and writes all of
	// it to another: FILE TO.
	readHalves = "halves"
	// listTwice lists a directory, rewinds and lists it again: DIR.
	listTwice = "list"
	// listFirst lists what one getdents(2) has of a directory: DIR.
	listFirst = "list-first"
	// listFailing lists to the first error, reads on, rewinds and lists again: DIR.
	listFailing = "list-failing"
	// readCrowded reads the beginning of a file many times at once, and writes how
	// often that ended how: FILE NUMBER.
	readCrowded = "crowded"
	// readAgain opens files that are called 0, 1 and so on three times each: DIR NUMBER.
	readAgain = "again"
	// refreshPath refreshes a path, as another user where one is named: PATH [UID].
	refreshPath = "refresh"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(readerVariable) {
	case "":
		os.Exit(m.Run())
	case readAnywhere:
		err = compareAnywhere(os.Args[1], os.Args[2])
	case readBytes:
		err = testReader(os.Args[1])
	case readMapped:
		err = printMapped(os.Args[1])
	case readSignalled:
		err = readUnderSignals(os.Args[1])
	case readAttributes:
		err = printAttributes(os.Args[1])
	case dumpAttributes:
		err = printAllAttributes(os.Args[1])
	case readHalves:
		err = copyHalves(os.Args[1], os.Args[2])
	case listTwice:
		err = printTwice(os.Args[1])
	case listFirst:
		err = printFirst(os.Args[1])
	case listFailing:
		err = printFailing(os.Args[1])
	case readCrowded:
		err = printCrowded(os.Args[1], os.Args[2])
	case readAgain:
		err = printAgain(os.Args[1], os.Args[2])
	case refreshPath:
		err = refreshAs(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// reader runs one of the above.
func reader(t testing.TB, what string, args ...string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return run(t, "env", append([]string{readerVariable + "=" + what, program}, args...)...)
}

// compareAnywhere reads in no order first, so that the chunks come so, and only
// then all of it.
func compareAnywhere(path, copyPath string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	type piece struct {
		off  int64
		read []byte
	}
	var pieces []piece
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		off := random.Int64N(info.Size())
		p := make([]byte, random.IntN(50_000))
		n, err := f.ReadAt(p, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		pieces = append(pieces, piece{off, p[:n]})
	}
	whole, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(copyPath, whole, 0o600); err != nil {
		return err
	}
	for _, p := range pieces {
		if !bytes.Equal(p.read, whole[p.off:p.off+int64(len(p.read))]) {
			return fmt.Errorf("%d bytes at %d differ from those read in order", len(p.read), p.off)
		}
	}
	return nil
}

func testReader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	whole, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return iotest.TestReader(io.NewSectionReader(f, 0, int64(len(whole))), whole)
}

func printMapped(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

// readUnderSignals reads with plain system calls, where an interrupted one shows,
// and has a signal sent to the very thread that waits in them.
func readUnderSignals(path string) error {
	runtime.LockOSThread()
	thread := unix.Gettid()
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGALRM)
	go func() {
		for range time.Tick(50 * time.Millisecond) {
			_ = unix.Tgkill(os.Getpid(), thread, syscall.SIGALRM) // the thread lives as long as the process
		}
	}()
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	total := 0
	for b := make([]byte, 128<<10); ; {
		n, err := unix.Read(fd, b)
		if err != nil {
			return fmt.Errorf("read after %d bytes: %w", total, err)
		}
		if n == 0 {
			break
		}
		total += n
	}
	<-caught // or it was not disturbed, and nothing was tested
	fmt.Println(total, "bytes")
	return nil
}

func printAttributes(path string) error {
	if _, err := unix.Getxattr(path, "user.x", nil); !errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("getxattr: %w, want ENODATA", err)
	}
	list := make([]byte, 1000)
	n, err := unix.Listxattr(path, list)
	if err != nil {
		return fmt.Errorf("listxattr: %w", err)
	}
	fmt.Printf("%q\n", list[:n])
	size, err := unix.Getxattr(path, lastErrorName, nil)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("getxattr %s: %w", lastErrorName, err)
	}
	if _, err := unix.Getxattr(path, lastErrorName, make([]byte, size-1)); !errors.Is(err, unix.ERANGE) {
		return fmt.Errorf("getxattr with too little room: %w, want ERANGE", err)
	}
	value := make([]byte, size)
	if n, err = unix.Getxattr(path, lastErrorName, value); err != nil || n != size {
		return fmt.Errorf("getxattr %s: %d bytes of %d, %w", lastErrorName, n, size, err)
	}
	fmt.Printf("%s\n", value)
	return nil
}

func printAllAttributes(path string) error {
	list := make([]byte, 1000)
	n, err := unix.Listxattr(path, list)
	if err != nil {
		return fmt.Errorf("listxattr: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 1000)
		n, err := unix.Getxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return fmt.Errorf("getxattr %s: %w", name, err)
		}
		fmt.Printf("%s=%s\n", name, value[:n])
	}
	return nil
}

func copyHalves(path, to string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	half := make([]byte, info.Size()/2)
	if _, err := io.ReadFull(f, half); err != nil {
		return err
	}
	fmt.Println("half")
	if _, err := fmt.Scanln(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	rest, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(half, rest...), 0o600)
}

func printTwice(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	for range 2 {
		names, err := dir.Readdirnames(-1)
		if err != nil {
			return err
		}
		for _, name := range names {
			fmt.Println(name)
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return nil
}

// entries reads some of a directory, at most once.
func entries(fd int) ([]string, error) {
	b := make([]byte, 32<<10)
	n, err := unix.ReadDirent(fd, b)
	if err != nil {
		return nil, err
	}
	_, _, names := unix.ParseDirent(b[:n], -1, nil)
	return names, nil
}

func printFirst(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	names, err := entries(fd)
	for _, name := range names {
		fmt.Println(name)
	}
	return err
}

func printFailing(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	for pass := range 2 {
		total := 0
		names, err := entries(fd)
		for ; err == nil && len(names) > 0; names, err = entries(fd) {
			total += len(names)
		}
		fmt.Println(total, "entries")
		if pass > 0 {
			return err
		}
		for range 2 {
			var errno unix.Errno
			if !errors.As(err, &errno) {
				return fmt.Errorf("no errno, but %w", err)
			}
			fmt.Println(unix.ErrnoName(errno))
			_, err = entries(fd)
		}
		if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
			return err
		}
	}
	return nil
}
