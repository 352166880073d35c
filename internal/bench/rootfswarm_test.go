package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	tarUnpacked  = "tar c of the unpacked image"
	findRootfs   = "find rootfs/ -ls"
	findUnpacked = "find of the unpacked image"
	readTrace    = "200 files of rootfs"
	indexBig     = "index of the big image"
	indexMany    = "index of 200,000 files"
	lookAtAll    = "find rootfs/ -ls, then drop"
)

// rootfsWarmComparisons look into images that are known, and beside them an unpacked copy.
func rootfsWarmComparisons() []comparison {
	return []comparison{
		{
			name: "rootfs-start", needs: []string{"dockerd", "docker", "containerd", "runc", "mkfs.ext4"}, root: true, sides: startSides,
			results: []result{{"what a program reads to start, the index known, 40 ms, 25 MB/s a connection", readTrace, dockerPull, "≤ 0.15"}},
		},
		{
			name: "rootfs-read", needs: mkfs["ext4"][:1], root: true,
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				b.rootfsImage(t)
				return b.beside(ctx, t, rootfsRepository, `tar c -C "$1" . | wc -c >"$2"`, tarRootfs, tarUnpacked)
			},
			results: []result{
				{"warm, ext4, a new mount", tarRootfs, tarUnpacked, "≤ 2.0"},
				{"warm, ext4, read before", tarRootfs + again, tarUnpacked, "≤ 2.0"},
			},
		},
		{
			name: "rootfs-find", needs: mkfs["ext4"][:1], root: true,
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				b.pushOnce(t, manyRepository, []stored{namesLayer(t, manyFiles, true)})
				return b.beside(ctx, t, manyRepository, `find "$1/" -ls | wc -l >"$2"`, findRootfs, findUnpacked)
			},
			results: []result{
				{"200,000 files, warm, ext4, a new mount", findRootfs, findUnpacked, "≤ 3.0"},
				{"200,000 files, warm, ext4, seen before", findRootfs + again, findUnpacked, "≤ 3.0"},
			},
		},
		{
			name: "rootfs-index", large: true, once: true, sides: indexSides,
			results: []result{
				{"what is kept of layers for good", indexBig, "", "≤ 0.4 % of the plain bytes and 20 B a file"},
				{"what is kept of layers for good", indexMany, "", "≤ 0.4 % of the plain bytes and 20 B a file"},
			},
		},
		{
			name: "rootfs-memory", large: true, once: true, root: true, sides: lookedAtSides,
			results: []result{{"memory: 1,000,000 files looked at, and dropped", lookAtAll, "", "≤ 64 MiB more"}},
		},
	}
}

// An image of very many files.
const (
	manyRepository = "bench/manyfiles"
	manyFiles      = 200_000
)

// startSides read what a program would, of an image that was listed before, beside
// docker, which cannot start anything before all of it is there.
func startSides(ctx context.Context, t *testing.T, b *bench) []side {
	layers := b.rootfsImage(t)
	trace := filepath.Join(b.dir, "trace")
	// Of the layers, number 2 is the largest.
	if err := os.WriteFile(trace, []byte(strings.Join(startTrace(t, layers[2]), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cache, _ := b.indexed(ctx, t, rootfsRepository)
	docker := b.startDocker(ctx, t)
	return []side{{readTrace, func(ctx context.Context, t *testing.T) sample {
		b.evict(ctx, t, cache)
		m := b.mount(ctx, t, cache)
		s := b.measure(ctx, t, b.shaped, m, sh(b.home(t, "cat"), `cd "$1" && exec xargs cat <"$2" >/dev/null`, m.rootfs(b.shaped, rootfsRepository), trace))
		compressed, _ := sizes(layers)
		s.note = fmt.Sprintf("%.1f %% of %.0f MB", 100*float64(s.bytes)/float64(compressed), float64(compressed)/1e6)
		return s
	}}, {dockerPull, func(ctx context.Context, t *testing.T) sample {
		s := b.measure(ctx, t, b.shaped, nil, docker.command("pull", "--quiet", b.shaped.reference(rootfsRepository)))
		docker.command("rmi", "--force", b.shaped.reference(rootfsRepository)).must(ctx, t)
		return s
	}}}
}

// beside runs a script on an image's rootfs, and on the image unpacked on ext4, where the
// cache is too. What the script writes to $2 has to be the same.
func (b *bench) beside(ctx context.Context, t *testing.T, repository, script, ours, theirs string) []side {
	t.Helper()
	crane := goTool(ctx, t, loadersModule, "crane")
	disk := b.filesystem(ctx, t, "ext4", 8*b.size+4<<30) // with an inode for each of the many files
	cache, unpacked := homeIn(t, disk, "cache"), homeIn(t, disk, "unpacked")
	sh(b.home(t, "crane"), `"$1" export --insecure "$2" - | tar x -p -C "$3"`, crane, b.loopback.reference(repository), unpacked).must(ctx, t)
	want := filepath.Join(b.dir, "said")
	theirScript := sh(b.home(t, "theirs"), script, unpacked, want)
	theirScript.must(ctx, t)
	m := b.mount(ctx, t, cache)
	sh(b.dir, `tar c -C "$1" . | wc -c >/dev/null`, m.rootfs(b.loopback, repository)).must(ctx, t)
	m.stop(t)
	our := func(name string, before state) side {
		return side{name, func(ctx context.Context, t *testing.T) sample {
			m := b.mount(ctx, t, cache)
			said := b.out(t)
			c := sh(b.home(t, "ours"), script, m.rootfs(b.loopback, repository), said)
			if before == readBefore {
				c.must(ctx, t)
			}
			s := b.measure(ctx, t, b.loopback, m, c)
			sh(b.dir, `cmp "$1" "$2"`, said, want).must(ctx, t)
			return s
		}}
	}
	return []side{
		our(ours, newMount), our(ours+again, readBefore),
		{theirs, func(ctx context.Context, t *testing.T) sample { return b.measure(ctx, t, b.loopback, nil, theirScript) }},
	}
}

// indexSides say what indexes take on the disk.
func indexSides(_ context.Context, t *testing.T, b *bench) []side {
	big, many := b.rootfsImage(t), []stored{namesLayer(t, manyFiles, true)}
	b.pushOnce(t, manyRepository, many)
	index := func(name, repository string, layers []stored) side {
		return side{name, func(ctx context.Context, t *testing.T) sample {
			cache, out := b.scratch(t, b.dir), b.out(t)
			m := b.mount(ctx, t, cache)
			s := b.measure(ctx, t, b.loopback, m, sh(b.home(t, "find"), `find "$1/" -type f | wc -l >"$2"`, m.rootfs(b.loopback, repository), out))
			m.stop(t)
			said, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			files, err := strconv.ParseInt(strings.TrimSpace(string(said)), 10, 64)
			if err != nil || files == 0 {
				t.Fatalf("%q files", said)
			}
			_, plain := sizes(layers)
			bytes, most := sizeOf(t, filepath.Join(cache, "layers/sha256/*/index")), plain/250+20*files
			s.note = fmt.Sprintf("%.2f MB of %.0f MB with %d files, the target is %.2f MB", float64(bytes)/1e6, float64(plain)/1e6, files, float64(most)/1e6)
			return s
		}}
	}
	return []side{index(indexBig, rootfsRepository, big), index(indexMany, manyRepository, many)}
}

// lookedAtSides look at a million files, and have the kernel drop what it knows of them.
func lookedAtSides(_ context.Context, t *testing.T, b *bench) []side {
	const repository, files = "bench/million", 1_000_000
	b.pushOnce(t, repository, []stored{namesLayer(t, files, false)})
	return []side{{lookAtAll, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		before := residentMemory(m.pid)
		s := b.measure(ctx, t, b.loopback, m, sh(b.home(t, "find"), `test "$(find "$1/" -ls | wc -l)" -gt "$2"`, m.rootfs(b.loopback, repository), strconv.Itoa(files)))
		with := residentMemory(m.pid)
		dropCaches(t)
		// The kernel says in its time what it has dropped, and memory goes back to the
		// system in the garbage collector's.
		dropped, since := residentMemory(m.pid), time.Now()
		for ; dropped > before+64<<20 && time.Since(since) < time.Minute; dropped = residentMemory(m.pid) {
			time.Sleep(watchPause)
		}
		s.note = fmt.Sprintf("%d MiB before, %d MiB with all, %d MiB %.0f s later", before>>20, with>>20, dropped>>20, time.Since(since).Seconds())
		return s
	}}}
}
