package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// directoriesComparison looks around where everything is known.
func directoriesComparison() comparison {
	return comparison{
		name: "directories", needs: mkfs["ext4"][:1], root: true, sides: directoriesSides,
		results: []result{
			{"1,000 image directories, warm", findTree, findCopy, "≤ 5, no request"},
			{"1,000 image directories, warm", catManifests, catCopies, "≤ 10, no request"},
		},
	}
}

const (
	findTree     = "find tags"
	findCopy     = "find of a copy on ext4"
	catManifests = "cat tags/*/manifest.json"
	catCopies    = "cat of the copies on ext4"
)

// directoriesSides looks around in very many images that are all known.
func directoriesSides(ctx context.Context, t *testing.T, b *bench) []side {
	const repository, images, fewImages = "bench/many", 1000, 50
	layers := makeLayers(t, mixedLayers(1, b.size)[len(parts):])
	b.put(t, repository, layers)
	count := images
	if b.smoke {
		count = fewImages
	}
	var tags []string
	for i := range count {
		tags = append(tags, fmt.Sprintf("v%04d", i))
		b.registry.Push(t, repository, tags[i], imageOf(t, runtime.GOARCH, nth(layers, i)))
	}
	m := b.mount(ctx, t, b.scratch(t, b.dir), "--tag-ttl", "1h", "--list-ttl", "1h")
	tree := filepath.Join(m.root, b.loopback.host, repository, "tags")
	copied := filepath.Join(b.filesystem(ctx, t, "ext4", 1<<30), "tags")
	command{home: b.home(t, "cp"), args: []string{"cp", "-r", tree, copied}}.must(ctx, t)
	find := func(name, dir string, m *mounted) side {
		return side{name, func(ctx context.Context, t *testing.T) sample {
			return b.measure(ctx, t, b.loopback, m, command{home: b.home(t, "find"), args: []string{"find", dir, "-name", "none"}})
		}}
	}
	cat := func(name, dir string, m *mounted) side {
		return side{name, func(ctx context.Context, t *testing.T) sample {
			args := []string{"cat"}
			for _, tag := range tags {
				args = append(args, filepath.Join(dir, tag, "manifest.json"))
			}
			return b.measure(ctx, t, b.loopback, m, command{home: b.home(t, "cat"), args: args})
		}}
	}
	sides := []side{find(findTree, tree, m), find(findCopy, copied, nil), cat(catManifests, tree, m), cat(catCopies, copied, nil)}
	for _, s := range sides { // once, for what is known from then on
		s.run(ctx, t)
	}
	return sides
}

// nth chooses layers, others for each n: the first, and those that the digits of
// n name.
func nth(layers []stored, n int) []stored {
	chosen := layers[:1:1]
	for ; n > 0; n /= len(layers) {
		chosen = append(chosen, layers[n%len(layers)])
	}
	return chosen
}
