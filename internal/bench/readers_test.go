package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// readersComparison has several read at once, none of whom may starve.
func readersComparison() comparison {
	return comparison{
		name: "readers", sides: readersSides,
		results: []result{{"8 readers of 8 images at once, cold, 40 ms, 25 MB/s a connection", cpTar, cranePull, "≤ 0.5, none starves"}},
	}
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
