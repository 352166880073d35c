//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// longDir lists so many names, which are numbers.
type longDir struct {
	testDir
	names  int
	listed *atomic.Int64 // how many in all
	fails  int           // the number in whose place there is an error; 0 is none
}

func (d longDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for n := range d.names {
			if n > 0 && n == d.fails {
				yield(tree.Entry{}, errors.New("broken"))
				return
			}
			d.listed.Add(1)
			if !yield(tree.Entry{Name: fmt.Sprint(n), Ino: 99}, nil) {
				return
			}
		}
	}
}

// open opens the directory as the kernel does, without one.
func (d longDir) open(t *testing.T) *listing {
	t.Helper()
	m := &mount{opts: Options{OpTimeout: opTimeout, Logger: slog.New(slog.DiscardHandler)}, errors: NewErrorLog(nil)}
	own, ok := m.wrap(d).(*dir)
	if !ok {
		t.Fatal("it is no directory")
	}
	l := &listing{dir: own}
	t.Cleanup(func() { l.Releasedir(context.Background(), 0) })
	return l
}

// next reads so many entries, each in a READDIR of its own, and has them be the numbers
// from first on.
func next(t *testing.T, l *listing, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		ctx, end := context.WithCancel(t.Context())
		e, errno := l.Readdirent(ctx)
		end()
		if errno != 0 || e == nil || e.Name != strconv.Itoa(i) || e.Off != uint64(i+1) {
			t.Fatalf("%+v, %v; want %d", e, errno, i)
		}
		if kept := len(l.kept()); kept > 2*keptBehind+keptAhead {
			t.Fatalf("%d entries are kept at %d", kept, i)
		}
	}
}

func (l *listing) kept() []tree.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries
}

// A directory may be larger than what is kept of it: no more of it is taken than is
// read, and all of it can be.
func TestListingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names = 4*keptBehind + 2*keptAhead
		d := longDir{names: names, listed: new(atomic.Int64)}
		l := d.open(t)
		next(t, l, 0, 10)
		synctest.Wait()
		if n := d.listed.Load(); n > keptAhead+10 {
			t.Errorf("%d names were taken for one who read 10", n)
		}
		next(t, l, 10, names-10)
		for range 2 {
			if e, errno := l.Readdirent(t.Context()); e != nil || errno != 0 {
				t.Errorf("after the end there is %+v, %v", e, errno)
			}
		}
		if n := d.listed.Load(); n != names {
			t.Errorf("%d names were taken of %d", n, names)
		}
	})
}

// A program goes back to any place where it has been, and forth; the kernel also to one
// where only another has been.
func TestListingSeeks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names = 3*keptBehind + 2*keptAhead
		d := longDir{names: names, listed: new(atomic.Int64)}
		l := d.open(t)
		random := rand.New(rand.NewPCG(1, 2))
		places := []int{keptAhead + 1, 3, 2*keptBehind + 5, 2, names - 50, names - keptBehind - 50, 0, 1}
		for range 20 {
			places = append(places, random.IntN(names-50))
		}
		for _, at := range places {
			if errno := l.Seekdir(t.Context(), uint64(at)); errno != 0 {
				t.Fatal(errno)
			}
			next(t, l, at, 50)
		}
		for _, at := range []uint64{names, names + 1000} {
			if errno := l.Seekdir(t.Context(), at); errno != 0 {
				t.Error(errno)
			}
			if e, errno := l.Readdirent(t.Context()); e != nil || errno != 0 {
				t.Errorf("at %d there is %+v, %v", at, e, errno)
			}
		}
	})
}

// One that fails after more than is kept tells so, and begins anew.
func TestListingFailsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fails = 3*keptBehind + 7
		d := longDir{names: 2 * fails, listed: new(atomic.Int64), fails: fails}
		l := d.open(t)
		for range 2 {
			next(t, l, 0, fails)
			for range 2 {
				if e, errno := l.Readdirent(t.Context()); e != nil || errno == 0 {
					t.Errorf("in place of an error there is %+v", e)
				}
			}
			if errno := l.Seekdir(t.Context(), 0); errno != 0 {
				t.Fatal(errno)
			}
		}
	})
}

// A program lists such a directory, goes back to its beginning and lists it again.
func TestListingOfMany(t *testing.T) {
	const names = 3 * keptBehind
	dir, _ := mountTree(t, longDir{testDir: testDir{0o555, 10, nil}, names: names, listed: new(atomic.Int64)}, Options{})
	got := strings.Fields(reader(t, listTwice, dir))
	if len(got) != 2*names {
		t.Fatalf("%d names, want %d twice", len(got), names)
	}
	for i, name := range got {
		if name != strconv.Itoa(i%names) {
			t.Fatalf("%s is in the place of %d", name, i%names)
		}
	}
}
