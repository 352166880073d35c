package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// otherComparisons are of more than one reader, image or tag.
func otherComparisons() []comparison {
	return slices.Concat([]comparison{dockerComparison(), {
		name: "readers", sides: readersSides,
		results: []result{{"8 readers of 8 images at once, cold, 40 ms, 25 MB/s a connection", cpTar, cranePull, "≤ 0.5, none starves"}},
	}, {
		name: "tags", sides: tagsSides,
		results: []result{{"the first of 100,000 tags, 40 ms", firstTag, craneLs, "≤ 0.05"}},
	}, {
		name: "directories", needs: mkfs["ext4"][:1], root: true, sides: directoriesSides,
		results: []result{
			{"1,000 image directories, warm", findTree, findCopy, "≤ 5, no request"},
			{"1,000 image directories, warm", catManifests, catCopies, "≤ 10, no request"},
		},
	}, {
		name: "memory", large: true, once: true, sides: memorySides,
		results: []result{
			{"memory: an image 10 times as large, cold, loopback", catTar, "", "≤ 128 MiB"},
			{"memory: an image 10 times as large, cold, loopback", pull, "", "≤ 128 MiB"},
		},
	}})
}

// readers is how many read at once.
const readers = 8

// readersSides has each reader copy an image of his own.
func readersSides(ctx context.Context, t *testing.T, b *bench) []side {
	crane := goTool(ctx, t, loadersModule, "crane")
	var specs []layerSpec
	for i := range readers {
		specs = append(specs, mixedLayers(uint64(10+i), b.size/readers)...)
	}
	layers := makeLayers(t, specs)
	repositories := make([]string, readers)
	for i := range repositories {
		repositories[i] = fmt.Sprintf("bench/reader-%d", i)
		mine := layers[i*len(layers)/readers : (i+1)*len(layers)/readers]
		b.put(t, repositories[i], mine)
		b.registry.Push(t, repositories[i], bigTag, imageOf(t, runtime.GOARCH, mine))
	}
	return []side{{cpTar, func(ctx context.Context, t *testing.T) sample {
		out := b.scratch(t, b.dir)
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		var all []command
		for i, repository := range repositories {
			from := filepath.Join(m.tag(b.shaped.host, repository, bigTag), "image.tar")
			all = append(all, command{home: b.home(t, "cp"), args: []string{"cp", from, filepath.Join(out, fmt.Sprint(i))}})
		}
		s := b.measure(ctx, t, b.shaped, m, all...)
		for i := range repositories {
			checkArchive(t, filepath.Join(out, fmt.Sprint(i)))
		}
		return s
	}}, {cranePull, func(ctx context.Context, t *testing.T) sample {
		out := b.scratch(t, b.dir)
		var all []command
		for i, repository := range repositories {
			all = append(all, command{home: b.home(t, "crane"), args: []string{
				crane, "pull", "--insecure", b.shaped.host + "/" + repository + ":" + bigTag, filepath.Join(out, fmt.Sprint(i)),
			}})
		}
		return b.measure(ctx, t, b.shaped, nil, all...)
	}}}
}

const (
	firstTag = "ls -U tags | head -1"
	craneLs  = "crane ls"
)

// tagsSides lists a repository of very many tags.
func tagsSides(ctx context.Context, t *testing.T, b *bench) []side {
	const repository, tags, fewTags = "bench/listed", 100_000, 3_000
	crane := goTool(ctx, t, loadersModule, "crane")
	layers := makeLayers(t, mixedLayers(1, b.size)[len(parts):])
	b.put(t, repository, layers)
	b.registry.Push(t, repository, "v000000", imageOf(t, runtime.GOARCH, layers))
	var names []string
	for i := 1; i < tags && (i < fewTags || !b.smoke); i++ {
		names = append(names, fmt.Sprintf("v%06d", i))
	}
	b.registry.TagMany(t, repository, "v000000", names...)
	return []side{{firstTag, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		dir := filepath.Join(m.root, b.shaped.host, repository, "tags")
		return b.measure(ctx, t, b.shaped, m, sh(b.home(t, "ls"), `case $(ls -U "$1" | head -n 1) in v*) ;; *) exit 1 ;; esac`, dir))
	}}, {craneLs, func(ctx context.Context, t *testing.T) sample {
		return b.measure(ctx, t, b.shaped, nil, command{home: b.home(t, "crane"), args: []string{crane, "ls", "--insecure", b.shaped.host + "/" + repository}})
	}}}
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
		b.registry.Push(t, repository, tags[i], imageOf(t, runtime.GOARCH, rotated(layers, i)))
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

// rotated makes another image of the same layers: those that the bits of n say,
// after the first.
func rotated(layers []stored, n int) []stored {
	chosen := layers[:1:1]
	for ; n > 0; n /= len(layers) {
		chosen = append(chosen, layers[n%len(layers)])
	}
	return chosen
}

// memorySides reads an image that fits into no memory.
func memorySides(ctx context.Context, t *testing.T, b *bench) []side {
	const repository, parts = "bench/huge", 10
	var specs []layerSpec
	for i := range parts {
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
	reference := strings.Join([]string{b.loopback.host, "/", repository, ":", bigTag}, "")
	return []side{{catTar, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		return b.measure(ctx, t, b.loopback, m, sh(b.dir, `exec cat "$1" >/dev/null`, filepath.Join(m.tag(b.loopback.host, repository, bigTag), "image.tar")))
	}}, {pull, func(ctx context.Context, t *testing.T) sample {
		return b.measure(ctx, t, b.loopback, nil, b.pullCommand(t, reference, "/dev/null", b.scratch(t, b.dir)))
	}}}
}
