package chaos

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

const (
	randomReaders = 64
	// maxResident is what the process of the mount may have in memory, ever.
	maxResident = 256 << 20
	// slack is how many goroutines or files more than at first are no leak: a timer,
	// a connection that is just being closed.
	slack = 8
)

// TestMemory has many programs read at random offsets for a while, from what is in
// the cache and what is not, and looks what that takes, and what is left of it.
func TestMemory(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	var images []image
	for n := range times(8, 3) {
		images = append(images, b.push(t, r, fmt.Sprint("a", n), registrytest.ImageSpec{
			Layers: []int64{int64(times(40<<20, 8<<20)), int64(times(20<<20, 4<<20))}, Seed: uint64(n),
		}))
	}
	trickle := r.Trickle(piece, 5*time.Millisecond)
	r.Break(func(w http.ResponseWriter, req *http.Request, asked registrytest.Request, next http.HandlerFunc) {
		w.Header().Set("Connection", "close") // an idle one would count
		trickle(w, req, asked, next)
	})
	m := b.mount(t, b.home(t, "cache"))
	b.must(t, "cat", m.in(images[0].dir, "manifest.json"))
	idle := func() (goroutines, files int) {
		return m.status().Mount.Goroutines, len(list(t, fmt.Sprintf("/proc/%d/fd", m.pid())))
	}
	goroutines, files := idle()
	if goroutines == 0 {
		t.Fatal("status.json does not tell the number of goroutines")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	duration := time.Duration(times(600, 15)) * time.Second
	var waits []func() outcome
	for n := range randomReaders {
		i := images[n%len(images)]
		waits = append(waits, b.startWithin(t, duration+hangLimit, "env", randomVariable+"="+duration.String(), self, m.in(i.dir, "image.tar"), i.path))
	}
	for _, wait := range waits {
		if o := wait(); o.err != nil {
			t.Errorf("a reader: %v", o)
		}
	}
	peak := peakMemory(t, m.pid())
	threads := len(list(t, fmt.Sprintf("/proc/%d/task", m.pid())))
	t.Logf("%d readers for %s: %d MiB resident at most, %d threads; %d requests", randomReaders, duration, peak>>20, threads, r.Count())
	if peak > maxResident {
		t.Errorf("%d MiB were resident, want at most %d", peak>>20, maxResident>>20)
	}
	eventually(t, "no more goroutines and files than at first", func() bool {
		g, f := idle()
		return g <= goroutines+slack && f <= files+slack
	})
}

func list(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// peakMemory is the largest resident memory that a process ever had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok { // proc_pid_status(5)
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no peak in /proc")
	return 0
}

// randomVariable has the test's binary read a file at random offsets for a while,
// and compare it with a copy: FILE COPY.
const randomVariable = "OCIDISTFS_CHAOS_RANDOM"

func readAtRandom(duration, path, copied string) int {
	err := func() error {
		limit, err := time.ParseDuration(duration)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		c, err := os.Open(copied)
		if err != nil {
			return err
		}
		info, err := c.Stat()
		if err != nil {
			return err
		}
		seed := fnv.New64()
		_, _ = fmt.Fprint(seed, path, os.Getpid()) // a hash takes everything
		random := rand.New(rand.NewPCG(seed.Sum64(), 0))
		got, want := make([]byte, 256<<10), make([]byte, 256<<10)
		for end := time.Now().Add(limit); time.Now().Before(end); {
			off := random.Int64N(info.Size())
			n := min(1+random.Int64N(int64(len(got))), info.Size()-off)
			if _, err := f.ReadAt(got[:n], off); err != nil {
				return err
			}
			if _, err := c.ReadAt(want[:n], off); err != nil {
				return err
			}
			if !bytes.Equal(got[:n], want[:n]) {
				return fmt.Errorf("%d bytes at %d are others", n, off)
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
