package bench

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
)

// memoryComparison reads what does not fit into memory.
func memoryComparison() comparison {
	const what = "memory: an image 10 times as large, cold, loopback"
	return comparison{
		name: "memory", large: true, once: true, sides: memorySides,
		results: []result{{what, catTar, "", "≤ 128 MiB"}, {what, pull, "", "≤ 128 MiB"}},
	}
}

// memorySides reads an image that fits into no memory.
func memorySides(_ context.Context, t *testing.T, b *bench) []side {
	const repository, times = "bench/huge", 10
	var specs []layerSpec
	for i := range times {
		specs = append(specs, layerSpec{seed: uint64(i), size: b.size, zeros: true})
	}
	layers := makeLayers(t, specs)
	for _, l := range layers { // they stay where they are, with holes
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		b.registry.PutBlob(t, repository, d, l.path)
	}
	b.registry.Push(t, repository, bigTag, imageOf(t, runtime.GOARCH, layers))
	reference := b.loopback.host + "/" + repository + ":" + bigTag
	return []side{{catTar, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		return b.measure(ctx, t, b.loopback, m, sh(b.dir, `exec cat "$1" >/dev/null`, filepath.Join(m.tag(b.loopback.host, repository, bigTag), "image.tar")))
	}}, {pull, func(ctx context.Context, t *testing.T) sample {
		return b.measure(ctx, t, b.loopback, nil, b.pullCommand(t, reference, "/dev/null", b.scratch(t, b.dir)))
	}}}
}
