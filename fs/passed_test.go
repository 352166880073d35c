//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// A soonVerified is a file of which nothing is verified when it is opened first, and which
// could be passed from the second time on. The first is not closed before the second is
// about to be passed, or is not.
type soonVerified struct {
	path   string // a file with its bytes
	opened atomic.Int32
	once   sync.Once
	second chan struct{}
}

func (f *soonVerified) open() tree.OpenFile {
	return soonOpen{readat.Bytes([]byte("hello\n")), f, f.opened.Add(1) == 1}
}

type soonOpen struct {
	readat.Reader
	file  *soonVerified
	first bool
}

func (o soonOpen) Verified() bool { return !o.first }
func (o soonOpen) Intact() bool   { return !o.first }

func (o soonOpen) Close() error {
	if o.first {
		<-o.file.second
	}
	return nil
}

func (o soonOpen) Backing(context.Context) (tree.BackingFile, error) {
	f, err := os.Open(o.file.path)
	if err != nil {
		return nil, err
	}
	return soonBacking{f, o.file}, nil
}

type soonBacking struct {
	*os.File
	file *soonVerified
}

func (b soonBacking) Fd() uintptr {
	b.file.once.Do(func() { close(b.file.second) })
	return b.File.Fd()
}

func (b soonBacking) Close() error {
	b.file.once.Do(func() { close(b.file.second) })
	return b.File.Close()
}

// TestOpenedAgain opens files whose bytes have just been verified while the kernel still
// says that they were closed: it must not be told to read a file that is taken away from it
// before it heard so, which is EIO.
func TestOpenedAgain(t *testing.T) {
	const files = 100
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := testDir{0o555, 10, map[string]tree.Node{}}
	for i := range files {
		f := &soonVerified{path: path, second: make(chan struct{})}
		root.entries[fmt.Sprint(i)] = testFile{mode: 0o444, ino: uint64(1000 + i), open: f.open}
	}
	dir, _ := mountTree(t, root, Options{})
	if out := reader(t, readAgain, dir, fmt.Sprint(files)); out != "" {
		t.Error(out)
	}
}

// printAgain is readAgain. The second time is as soon as the first was closed. It writes
// which of that failed.
func printAgain(dir, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	for i := range n {
		for try := range 3 {
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
			if err == nil && string(b) != "hello\n" {
				err = errors.New("it is " + string(b))
			}
			if err != nil {
				fmt.Println(try, err)
			}
		}
	}
	return nil
}
