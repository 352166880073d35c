package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	catRelease  = "cat rootfs/" + osRelease
	craneExport = "crane export | tar xO " + osRelease
	lsAndCat    = "ls rootfs/etc, " + catRelease
	lsStargz    = "ls and cat, eStargz"
	lsChunked   = "ls and cat, zstd:chunked"
	exported    = "export"
	craneWhole  = "crane export"
	tarRootfs   = "tar c -C rootfs . | wc -c"
	unpack      = "skopeo copy, umoci unpack"
)

// rootfsComparisons look into images that are not in the cache, or are there as an index
// alone.
func rootfsComparisons() []comparison {
	const far, near = "cold, 40 ms, 25 MB/s a connection", "cold, loopback"
	look := func(network func(*bench) *network) func(ctx context.Context, t *testing.T, b *bench) []side {
		return func(ctx context.Context, t *testing.T, b *bench) []side {
			b.rootfsImage(t)
			return []side{b.lookSide(network(b)), b.craneLookSide(ctx, t, network(b))}
		}
	}
	return []comparison{
		{
			name: "rootfs-shaped", sides: look(func(b *bench) *network { return b.shaped }),
			results: []result{{far, catRelease, craneExport, "≤ 0.45"}},
		},
		{
			name: "rootfs-loopback", sides: look(func(b *bench) *network { return b.loopback }),
			results: []result{{near, catRelease, craneExport, "≤ 0.9"}},
		},
		{
			name: "rootfs-again", sides: againSides,
			results: []result{{"a second mount, the index kept and all else evicted, 40 ms, 25 MB/s a connection", lsAndCat, "", "≤ 2 requests after authentication, ≤ 2 MB"}},
		},
		{
			name: "rootfs-toc", sides: tocSides,
			results: []result{
				{"a table of contents in each layer, " + far, lsStargz, "", "≤ 1.5 % of the image, ≤ 3 round trips after the manifests"},
				{"a table of contents in each layer, " + far, lsChunked, "", "≤ 1.5 % of the image, ≤ 3 round trips after the manifests"},
			},
		},
		{
			name: "export", sides: exportSides,
			results: []result{{near, exported, craneWhole, "report"}, {"warm", exported + again, craneWhole, "report"}},
		},
		{
			name: "rootfs-all", needs: []string{"skopeo", "umoci"}, root: true, sides: allSides,
			results: []result{{near, tarRootfs, unpack, "≤ 0.7"}},
		},
	}
}

// rootfs is the one of an image in the mount.
func (m *mounted) rootfs(n *network, repository string) string {
	return filepath.Join(m.tag(n.host, repository, bigTag), "rootfs")
}

// reference is an image's.
func (n *network) reference(repository string) string {
	return n.host + "/" + repository + ":" + bigTag
}

// checkRelease checks that a file is what the image has.
func checkRelease(t *testing.T, path string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != osReleaseText {
		t.Errorf("%s: %q, %v", path, got, err)
	}
}

// lookSide reads one file of an image, by a new mount.
func (b *bench) lookSide(n *network) side {
	return side{catRelease, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		s := b.measure(ctx, t, n, m, sh(b.home(t, "cat"), `exec cat "$1" >"$2"`, filepath.Join(m.rootfs(n, rootfsRepository), osRelease), out))
		checkRelease(t, out)
		return s
	}}
}

// craneLookSide takes the file out of all others.
func (b *bench) craneLookSide(ctx context.Context, t *testing.T, n *network) side {
	t.Helper()
	crane := goTool(ctx, t, loadersModule, "crane")
	return side{craneExport, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		s := b.measure(ctx, t, n, nil, sh(b.home(t, "crane"), `"$1" export --insecure "$2" - | tar xO "$3" >"$4"`, crane, n.reference(rootfsRepository), osRelease, out))
		checkRelease(t, out)
		return s
	}}
}

// indexed returns a cache that has the index of each layer of an image, and nothing else
// of them, and how many bytes these are.
func (b *bench) indexed(ctx context.Context, t *testing.T, repository string) (cache string, bytes int64) {
	t.Helper()
	cache = b.scratch(t, b.dir)
	m := b.mount(ctx, t, cache)
	sh(b.dir, `ls -R "$1/" >/dev/null`, m.rootfs(b.loopback, repository)).must(ctx, t)
	// The way by which it is read later is to be known too.
	sh(b.dir, `exec ls "$1/" >/dev/null`, m.rootfs(b.shaped, repository)).must(ctx, t)
	m.stop(t)
	return cache, b.evict(ctx, t, cache)
}

// evict removes all that is kept of layers but their indexes, and returns what these are.
func (b *bench) evict(ctx context.Context, t *testing.T, cache string) int64 {
	t.Helper()
	bytes := sizeOf(t, filepath.Join(cache, "layers/sha256/*/index"))
	if bytes == 0 {
		t.Fatal("no layer has an index")
	}
	command{home: b.home(t, "ocidistfs"), args: []string{b.program, "cache", "prune", "--cache-dir", cache, "--max-size", strconv.FormatInt(bytes, 10) + "B"}}.must(ctx, t)
	if left := sizeOf(t, filepath.Join(cache, "layers/sha256/*/index")); left != bytes {
		t.Fatalf("%d of %d bytes of indexes are left", left, bytes)
	}
	if left := sizeOf(t, filepath.Join(cache, "layers/sha256/*/plain")) + sizeOf(t, filepath.Join(cache, "blobs/sha256/*")); left > 1<<20 {
		t.Fatalf("%d bytes of layers are left", left)
	}
	return bytes
}

// sizeOf is how many bytes the files of a pattern are.
func sizeOf(t *testing.T, pattern string) int64 {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// againSides look for the first time by a second mount.
func againSides(_ context.Context, t *testing.T, b *bench) []side {
	b.rootfsImage(t)
	return []side{{lsAndCat, func(ctx context.Context, t *testing.T) sample {
		cache, _ := b.indexed(ctx, t, rootfsRepository)
		out := b.out(t)
		m := b.mount(ctx, t, cache)
		s := b.measure(ctx, t, b.shaped, m, lsAndCatOf(b.home(t, "cat"), m.rootfs(b.shaped, rootfsRepository), out))
		checkRelease(t, out)
		var asked []string
		for _, r := range s.requests {
			asked = append(asked, r.Method+" "+kindOf(r))
		}
		s.note = strings.Join(asked, ", ")
		return s
	}}}
}

func lsAndCatOf(home, rootfs, out string) command {
	return sh(home, `ls -l "$1/etc" >/dev/null && exec cat "$1/`+osRelease+`" >"$2"`, rootfs, out)
}

// tocSides look into images whose layers say themselves what is in them.
func tocSides(_ context.Context, t *testing.T, b *bench) []side {
	layers := append(makeSystem(t, b.size), makeLayers(t, mixedLayers(1, b.size))...)
	var sides []side
	for _, kind := range []struct {
		name, repository string
		chunked          bool
	}{{lsStargz, stargzRepository, false}, {lsChunked, chunkedRepository, true}} {
		packed := make([]stored, len(layers))
		for i, l := range layers {
			packed[i] = stargzed(t, l, kind.chunked)
		}
		b.pushOnce(t, kind.repository, packed)
		compressed, _ := sizes(packed)
		sides = append(sides, side{kind.name, func(ctx context.Context, t *testing.T) sample {
			out := b.out(t)
			m := b.mount(ctx, t, b.scratch(t, b.dir))
			// What the tag means is asked before.
			sh(b.dir, `exec cat "$1/resolved-manifest.json" >/dev/null`, m.tag(b.shaped.host, kind.repository, bigTag)).must(ctx, t)
			s := b.measure(ctx, t, b.shaped, m, lsAndCatOf(b.home(t, "cat"), m.rootfs(b.shaped, kind.repository), out))
			checkRelease(t, out)
			s.note = fmt.Sprintf("%.2f %% of %.0f MB, as long as %.1f round trips", 100*float64(s.bytes)/float64(compressed), float64(compressed)/1e6, s.wall.Seconds()/slow.latency.Seconds())
			return s
		}})
	}
	return sides
}

// exportSides write all of a file system as an archive.
func exportSides(ctx context.Context, t *testing.T, b *bench) []side {
	b.rootfsImage(t)
	crane := goTool(ctx, t, loadersModule, "crane")
	reference := b.loopback.reference(rootfsRepository)
	export := func(ctx context.Context, t *testing.T, cache string) sample {
		t.Helper()
		out := b.out(t)
		s := b.measure(ctx, t, b.loopback, nil, command{home: b.home(t, "ocidistfs"), args: []string{
			b.program, "export", "--anonymous", "--cache-dir", cache, "-o", out, reference,
		}})
		sh(b.dir, `tar xOf "$1" `+osRelease+` | cmp - "$2"`, out, b.release(t)).must(ctx, t)
		return s
	}
	return []side{
		{exported, func(ctx context.Context, t *testing.T) sample { return export(ctx, t, b.scratch(t, b.dir)) }},
		{exported + again, func(ctx context.Context, t *testing.T) sample {
			cache := b.scratch(t, b.dir)
			export(ctx, t, cache)
			return export(ctx, t, cache)
		}},
		{craneWhole, func(ctx context.Context, t *testing.T) sample {
			return b.measure(ctx, t, b.loopback, nil, command{home: b.home(t, "crane"), args: []string{crane, "export", "--insecure", reference, b.out(t)}})
		}},
	}
}

// release is a file like the one in the image.
func (b *bench) release(t *testing.T) string {
	t.Helper()
	path := filepath.Join(b.dir, "os-release")
	if err := os.WriteFile(path, []byte(osReleaseText), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// allSides read all there is in an image, and nothing of it was there before.
func allSides(_ context.Context, t *testing.T, b *bench) []side {
	b.rootfsImage(t)
	return []side{{tarRootfs, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		return b.measure(ctx, t, b.loopback, m, sh(b.home(t, "tar"), `test "$(tar c -C "$1" . | wc -c)" -gt "$2"`,
			m.rootfs(b.loopback, rootfsRepository), strconv.FormatInt(b.size, 10)))
	}}, {unpack, func(ctx context.Context, t *testing.T) sample {
		home, dir := b.home(t, "skopeo"), b.scratch(t, b.dir)
		return b.measure(ctx, t, b.loopback, nil, sh(home, `skopeo --insecure-policy --tmpdir tmp copy --quiet --src-tls-verify=false "docker://$1" "oci:$2/image:1" &&
			umoci unpack --image "$2/image:1" "$2/bundle" >/dev/null`, b.loopback.reference(rootfsRepository), dir))
	}}}
}
