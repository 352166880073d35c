package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// tagsComparison wants one name of a long list.
func tagsComparison() comparison {
	return comparison{
		name: "tags", sides: tagsSides,
		results: []result{{"the first of 100,000 tags, 40 ms", firstTag, craneLs, "≤ 0.05"}},
	}
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
