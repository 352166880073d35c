package chaos

import (
	"bytes"
	"fmt"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A damage is something that happens to a file of the cache.
type damage struct {
	name string
	do   func(path, other string, random *rand.Rand) error
}

var damages = []damage{
	{"flip", flip},
	{"truncate", func(path, _ string, random *rand.Rand) error {
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 {
			return err
		}
		return os.Truncate(path, random.Int64N(info.Size()))
	}},
	{"extend", func(path, _ string, random *rand.Rand) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()+1+random.Int64N(100_000))
	}},
	{"delete", func(path, _ string, _ *rand.Rand) error { return os.Remove(path) }},
	{"swap", func(path, other string, _ *rand.Rand) error {
		if path == other {
			return nil
		}
		aside := path + ".aside"
		for _, step := range [][2]string{{path, aside}, {other, path}, {aside, other}} {
			if err := os.Rename(step[0], step[1]); err != nil {
				return err
			}
		}
		return nil
	}},
	{"zero", func(path, _ string, _ *rand.Rand) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := os.Truncate(path, 0); err != nil {
			return err
		}
		return os.Truncate(path, info.Size())
	}},
}

// flip flips a bit.
func flip(path, _ string, random *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // what was written is there
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	one, at := []byte{0}, random.Int64N(info.Size())
	if _, err := f.ReadAt(one, at); err != nil {
		return err
	}
	one[0] ^= 1 << random.IntN(8)
	_, err = f.WriteAt(one, at)
	return err
}

// TestCorruption damages files of the cache while a mount uses it: blobs and their
// sums, partial ones and their maps, records of tags and manifests. Nothing wrong is
// served, and everything is put right.
func TestCorruption(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	cache := b.home(t, "cache")
	random := rand.New(rand.NewPCG(3, 4))
	var images []image
	var tars [][]byte
	for n := range 6 {
		i := b.push(t, r, fmt.Sprint("a", n), registrytest.ImageSpec{Layers: []int64{700_000, 150_000, 10}, Seed: uint64(n)})
		tar, err := os.ReadFile(i.path)
		if err != nil {
			t.Fatal(err)
		}
		images, tars = append(images, i), append(tars, tar)
	}
	m := b.mount(t, cache, "--tag-ttl", "0s", "--list-ttl", "0s")
	done, failed := map[string]int{}, map[string]int{}
	// read reads all of an image, or some of it, and says what was wrong.
	read := func(n int) (what string) {
		i, tar := images[n], tars[n]
		path := m.in(i.dir, "image.tar")
		if random.IntN(3) == 0 {
			o := b.run("cat", m.in(r.Host(), fmt.Sprint("a", n), "digests", i.digest.String(), "manifest.json"))
			if o.err == nil && o.sum != i.digest.Hex {
				t.Fatalf("another manifest: %v", o)
			}
			if o.err != nil {
				return fmt.Sprint("by digest: ", o)
			}
		}
		if random.IntN(2) == 0 {
			o := b.run("cat", path)
			if o.err == nil && !i.isIt(o) {
				t.Fatalf("other bytes: %v", o)
			}
			if o.err != nil {
				return fmt.Sprint(o)
			}
			return ""
		}
		off, size := random.IntN(len(tar)), 1+random.IntN(100_000)
		part := filepath.Join(b.dir, "part")
		o := b.run("dd", "status=none", "iflag=skip_bytes,count_bytes", "if="+path, "of="+part, fmt.Sprint("skip=", off), fmt.Sprint("count=", size))
		if o.err != nil {
			return fmt.Sprint(o)
		}
		got, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, tar[off:min(off+size, len(tar))]) {
			t.Fatalf("other bytes: %d at %d of image %d", size, off, n)
		}
		return ""
	}
	for n := range times(1000, 100) {
		if n%40 == 39 { // what is partial is so again
			m.stop(t)
			for _, dir := range []string{"blobs/sha256", "sums/sha256", "partial"} {
				if random.IntN(2) == 0 {
					if err := os.RemoveAll(filepath.Join(cache, dir)); err != nil {
						t.Fatal(err)
					}
				}
			}
			m.start(t)
		}
		_ = read(random.IntN(len(images)))
		path, other := pick(t, cache, random)
		if path == "" {
			continue
		}
		d := damages[random.IntN(len(damages))]
		if err := d.do(path, other, random); err != nil {
			t.Fatalf("%s %s: %v", d.name, path, err)
		}
		kind := d.name + " " + kindOf(cache, path)
		done[kind]++
		if n%5 == 4 {
			m.stop(t)
			m.start(t)
		}
		for n := range images {
			for attempt := 1; ; attempt++ {
				what := read(n)
				if what == "" {
					break
				}
				failed[kind]++
				if attempt == 5 {
					t.Fatalf("after %s of %s: %s", d.name, path, what)
				}
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(done)) {
		t.Logf("%-28s %4d times, %d reads failed", kind, done[kind], failed[kind])
	}
	// All is well in the end, whoever reads.
	for _, i := range images {
		if o := b.run("cat", m.in(i.dir, "image.tar")); !i.isIt(o) {
			t.Errorf("in the end: %v", o)
		}
	}
	if len(failed) > 0 {
		t.Errorf("damage made reads fail: %v", failed)
	}
}

// pick picks a file of the cache, and another of its directory; not of the few at
// its top, without which it is no cache.
func pick(t *testing.T, cache string, random *rand.Rand) (path, other string) {
	t.Helper()
	byKind := map[string][]string{}
	err := filepath.WalkDir(cache, func(path string, d iofs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Dir(path) != cache {
			kind := kindOf(cache, path)
			byKind[kind] = append(byKind[kind], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := slices.Sorted(maps.Keys(byKind))
	if len(kinds) == 0 {
		return "", ""
	}
	files := byKind[kinds[random.IntN(len(kinds))]]
	path = files[random.IntN(len(files))]
	return path, files[random.IntN(len(files))]
}

// kindOf is what a file of the cache is.
func kindOf(cache, path string) string {
	rest := strings.TrimPrefix(path, cache+"/")
	top, rest, _ := strings.Cut(rest, "/")
	switch {
	case top == "partial" && strings.HasSuffix(rest, ".map"):
		return "map"
	case top != "refs":
		return top
	}
	_, rest, _ = strings.Cut(rest, "/")
	if kind, _, below := strings.Cut(rest, "/"); below {
		return "refs/" + kind
	}
	return "refs"
}
