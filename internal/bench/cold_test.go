package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

const (
	cpTar       = "cp image.tar"
	catTar      = "cat image.tar"
	pull        = "pull"
	pullNoCache = "pull --no-cache"
	cranePull   = "crane pull"
	regctlExp   = "regctl image export"
	skopeoCopy  = "skopeo copy"
)

// coldComparisons have nothing in the cache.
func coldComparisons() []comparison {
	const far, near = "cold, 40 ms, 25 MB/s a connection", "cold, loopback"
	return []comparison{
		{
			name: "cold-shaped",
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				return withSkopeo(b, b.shaped, []side{
					b.cpSide(b.shaped), b.pullSide(pull, b.shaped),
					b.craneSide(ctx, t, b.shaped), b.regctlSide(ctx, t, b.shaped),
				})
			},
			results: []result{
				{far, cpTar, cranePull, "≤ 0.15"}, {far, cpTar, regctlExp, "≤ 0.15"}, {far, cpTar, skopeoCopy, "report"},
				{far, pull, cranePull, "≤ 0.14"}, {far, pull, regctlExp, "≤ 0.14"},
			},
		},
		{
			name: "cold-loopback",
			sides: func(ctx context.Context, t *testing.T, b *bench) []side {
				return withSkopeo(b, b.loopback, []side{
					b.cpSide(b.loopback), b.pullSide(pull, b.loopback), b.pullSide(pullNoCache, b.loopback, "--no-cache"),
					b.craneSide(ctx, t, b.loopback), b.regctlSide(ctx, t, b.loopback),
				})
			},
			results: []result{
				{near, cpTar, cranePull, "≤ 1.0"}, {near, cpTar, regctlExp, "report"}, {near, cpTar, skopeoCopy, "report"},
				{near, pull, cranePull, "≤ 1.0"}, {near, pullNoCache, cranePull, "≤ 0.9"},
			},
		},
		{
			name:    "first-byte",
			sides:   func(ctx context.Context, t *testing.T, b *bench) []side { return []side{b.firstByteSide(ctx, t)} },
			results: []result{{"first byte of a layer, cold, 40 ms, multi-platform", "dd of image.tar", "", "3 requests"}},
		},
	}
}

// withSkopeo adds skopeo where it is installed.
func withSkopeo(b *bench, n *network, sides []side) []side {
	if !b.installed("skopeo") {
		return sides
	}
	return append(sides, side{skopeoCopy, func(ctx context.Context, t *testing.T) sample {
		home, out := b.home(t, "skopeo"), b.out(t)
		return b.measure(ctx, t, n, nil, command{home: home, args: []string{
			"skopeo", "--insecure-policy", "--tmpdir", filepath.Join(home, "tmp"),
			"copy", "--quiet", "--src-tls-verify=false", "docker://" + n.big(), "docker-archive:" + out + ":" + n.big(),
		}})
	}})
}

// big is the reference of the big image.
func (n *network) big() string { return n.host + "/" + bigRepository + ":" + bigTag }

// out is a file to write to, gone at the end of a run.
func (b *bench) out(t *testing.T) string {
	t.Helper()
	return filepath.Join(b.scratch(t, b.dir), "out.tar")
}

// scratch makes a directory below another one, gone at the end of a run.
func (b *bench) scratch(t *testing.T, below string) string {
	t.Helper()
	dir, err := os.MkdirTemp(below, "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// cpSide copies out of a new mount.
func (b *bench) cpSide(n *network) side {
	return side{cpTar, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		from := filepath.Join(m.tag(n.host, bigRepository, bigTag), "image.tar")
		s := b.measure(ctx, t, n, m, command{home: b.home(t, "cp"), args: []string{"cp", from, out}})
		checkArchive(t, out)
		return s
	}}
}

// pullSide pulls, with a new cache.
func (b *bench) pullSide(name string, n *network, flags ...string) side {
	return side{name, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		s := b.measure(ctx, t, n, nil, b.pullCommand(t, n.big(), out, b.scratch(t, b.dir), flags...))
		checkArchive(t, out)
		return s
	}}
}

func (b *bench) pullCommand(t *testing.T, reference, out, cache string, flags ...string) command {
	t.Helper()
	return command{home: b.home(t, "ocidistfs"), args: append([]string{
		b.program, "pull", "--anonymous", "--no-manifests", "--no-hashes", "--cache-dir", cache, reference, "--path", out,
	}, flags...)}
}

func (b *bench) craneSide(ctx context.Context, t *testing.T, n *network) side {
	t.Helper()
	program := goTool(ctx, t, loadersModule, "crane")
	return side{cranePull, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		return b.measure(ctx, t, n, nil, command{home: b.home(t, "crane"), args: []string{program, "pull", "--insecure", n.big(), out}})
	}}
}

func (b *bench) regctlSide(ctx context.Context, t *testing.T, n *network) side {
	t.Helper()
	program := goTool(ctx, t, loadersModule, "regctl")
	return side{regctlExp, func(ctx context.Context, t *testing.T) sample {
		out := b.out(t)
		return b.measure(ctx, t, n, nil, command{home: b.home(t, "regctl"), args: []string{
			program, "--host", "reg=" + n.host + ",tls=disabled", "image", "export", n.big(), out,
		}})
	}}
}

// firstByteSide reads one byte, the first of the largest layer, by a tag that
// names an index.
func (b *bench) firstByteSide(ctx context.Context, t *testing.T) side {
	t.Helper()
	known := b.mount(ctx, t, b.scratch(t, b.dir))
	at := largestMember(t, filepath.Join(known.tag(b.shaped.host, bigRepository, multiTag), "image.tar"))
	known.stop(t)
	return side{"dd of image.tar", func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		path := filepath.Join(m.tag(b.shaped.host, bigRepository, multiTag), "image.tar")
		s := b.measure(ctx, t, b.shaped, m, command{home: b.home(t, "dd"), args: []string{
			"dd", "if=" + path, "of=/dev/null", "bs=1", "count=1", "iflag=skip_bytes", "skip=" + at, "status=none",
		}})
		var asked []string
		for _, r := range s.requests {
			asked = append(asked, r.Method+" "+kindOf(r))
		}
		s.note = strings.Join(asked, ", ")
		return s
	}}
}

// kindOf says what a request was for.
func kindOf(r distributiontest.Request) string {
	switch {
	case r.IsManifest():
		return "manifest"
	case r.IsBlob():
		return "blob"
	default:
		return r.Path
	}
}
