package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// artifact is something that registries keep and that is no image.
func artifact(t testing.TB) v1.Image {
	return mutate.ConfigMediaType(
		registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10}}),
		types.MediaType("application/vnd.example.thing.v1+json"))
}

// TestManifestRequests: "A tag that was never asked for costs one request, one
// within its TTL none, one after it a HEAD."
func TestManifestRequests(t *testing.T) {
	s := distributiontest.Start(t, distributiontest.Open)
	s.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	cache := t.TempDir()
	dir := background(t, cache, "--tag-ttl 1h")
	cat := func(dir string) { bash(t, "cat "+filepath.Join(dir, s.Host, "a/tags/1/manifest.json")) }
	asked := func(m distributiontest.Mark) string {
		var all []string
		for _, r := range s.Since(t, m) {
			all = append(all, r.Method+" "+r.Path)
		}
		return strings.Join(all, ", ")
	}
	mark := s.Mark(t)
	cat(dir)
	if got, want := asked(mark), "GET /v2/, GET /v2/a/manifests/1"; got != want {
		t.Errorf("cold: %s; want %s", got, want)
	}
	mark = s.Mark(t)
	cat(dir)
	if got := asked(mark); got != "" {
		t.Errorf("within the TTL: %s; want none", got)
	}
	bash(t, "ocidistfs unmount "+dir)

	// Another process goes on with what the cache knows of the tag, until its own
	// idea of a TTL is over.
	dir = background(t, cache, "--tag-ttl 3s")
	for deadline := time.Now().Add(commandLimit); asked(mark) == "" && time.Now().Before(deadline); {
		cat(dir)
	}
	if got, want := asked(mark), "GET /v2/, HEAD /v2/a/manifests/1"; got != want {
		t.Errorf("after the TTL: %s; want %s", got, want)
	}
}

// TestTarListingFetchesLittle: "Listing image.tar fetches at most 64 KiB of layer
// a member."
func TestTarListingFetchesLittle(t *testing.T) {
	t.Parallel()
	s := distributiontest.Start(t, distributiontest.Open)
	// Longer than what a reader may skip who reads in order, and shorter.
	for name, layers := range map[string][]int64{"long": sizes(8, 2<<20), "short": sizes(60, 300<<10)} {
		t.Run(name, func(t *testing.T) {
			s.Push(t, name, "1", registrytest.Image(t, registrytest.ImageSpec{Layers: layers}))
			dir := background(t, t.TempDir(), "")
			mark := s.Mark(t)
			members := lines(bash(t, "tar tf "+filepath.Join(dir, s.Host, name, "tags/1/image.tar")))
			var sent int64
			for _, r := range s.Since(t, mark) {
				if r.IsBlob() {
					sent += r.Sent
				}
			}
			t.Logf("%d bytes of blobs for %d members", sent, len(members))
			if limit := int64(len(layers)) * 64 << 10; len(members) != 7+2+len(layers) || sent > limit {
				t.Errorf("%d members, %d bytes of blobs; want at most %d", len(members), sent, limit)
			}
		})
	}
}

// sizes are n sizes from size on, no two the same.
func sizes(n int, size int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = size + int64(i)*1000
	}
	return all
}

// TestListingTenThousandTags: "A listed tag is looked up without a request."
func TestListingTenThousandTags(t *testing.T) {
	t.Parallel()
	s := distributiontest.Start(t, distributiontest.Open)
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}})
	s.Push(t, "a", "first", image)
	const count = 10_000
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("tag-%05d", i)
	}
	s.TagMany(t, "a", "first", names...)
	dir := background(t, t.TempDir(), "--list-ttl 1h")
	mark := s.Mark(t)
	listed := lines(bash(t, "ls -l "+filepath.Join(dir, s.Host, "a/tags")))
	if n := len(listed) - 1; n != count+1 { // the first line is the total
		t.Errorf("ls -l shows %d tags, want %d", n, count+1)
	}
	manifests, pages := 0, 0
	for _, r := range s.Since(t, mark) {
		switch {
		case r.IsManifest():
			manifests++
		case strings.Contains(r.Path, "/tags/list"):
			pages++
		}
	}
	if manifests != 0 || pages == 0 || pages > count/1000+1 {
		t.Errorf("%d manifest requests, %d pages; want none and one a thousand tags", manifests, pages)
	}
}
