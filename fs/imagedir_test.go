//go:build linux

package fs

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// "Walking through an image directory costs one request a manifest at most, and the second time none."
func TestWalkOfManyPlatforms(t *testing.T) {
	m := mountRegistry(t, Options{})
	const platforms = 20
	var images []v1.Image
	for n := range platforms {
		images = append(images, registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100, 200}, Seed: uint64(n), Architecture: fmt.Sprintf("cpu%d", n)}))
	}
	m.registry.PushIndex(t, "a", "1", registrytest.Index(t, images...))
	image := m.repository("a") + "/tags/1"
	walked := run(t, "ls", "-lR", image)
	if n := strings.Count(walked, "config.json"); n != platforms {
		t.Fatalf("%d configs were seen, want %d:\n%s", n, platforms, walked)
	}
	if n := m.registry.Count(registrytest.Manifest); n > platforms+1 || len(m.registry.Requests()) > platforms+2 { // and the first contact
		t.Errorf("%d requests for manifests, %d in all, want %d", n, len(m.registry.Requests()), platforms+1)
	}
	m.registry.Forget()
	for _, again := range [][]string{{"ls", "-lR", image}, {"find", image, "-ls"}, {"du", "-a", image}} {
		run(t, again[0], again[1:]...)
	}
	if n := len(m.registry.Requests()); n != 0 {
		t.Errorf("%d requests to walk through it again", n)
	}
	if got := run(t, "readlink", image+"/platforms/linux-cpu7/referrers"); !strings.HasPrefix(got, "../../../../digests/sha256:") {
		t.Errorf("referrers leads to %s", got)
	}
	if got, want := run(t, "realpath", "-m", image+"/referrers/x"), m.repository("a")+"/digests/"+strings.TrimSpace(run(t, "cat", image+"/digest"))+"/.referrers/x\n"; got != want {
		t.Errorf("referrers leads to %s, want %s", filepath.Clean(got), want)
	}
}

// Whoever looks into several platforms at once has their manifests asked for at once:
// none is answered before all are.
func TestWalksAtOnce(t *testing.T) {
	m := mountRegistry(t, Options{})
	const platforms = 20
	var images []v1.Image
	for n := range platforms {
		images = append(images, registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Seed: uint64(n), Architecture: fmt.Sprintf("cpu%d", n)}))
	}
	m.registry.PushIndex(t, "a", "1", registrytest.Index(t, images...))
	dir := m.repository("a") + "/tags/1/platforms"
	run(t, "ls", dir)
	m.registry.Forget()
	var asked atomic.Int64
	all := make(chan struct{})
	hold := m.registry.Hold(all)
	m.registry.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if asked.Add(1) == platforms {
			close(all)
		}
		hold(w, r, req, next)
	}))
	run(t, "sh", "-c", `for p in "$1"/*; do ls -l $p > /dev/null & all="$all $!"; done; for one in $all; do wait $one || exit 1; done`, "sh", dir)
	if n := m.registry.Count(registrytest.Manifest); n != platforms {
		t.Errorf("%d requests for manifests, want %d", n, platforms)
	}
}
