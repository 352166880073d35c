package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestMirror has a pull-through cache before the registry, both the real thing, and
// several mounts that fill it at once, from one directory: this kind of cache sends all
// of a blob that it does not have, whatever range it is asked for, and fetches it again
// for each who asks meanwhile. Others have caches of their own. What they read leaves the
// registry once. "Of a source that knows no ranges each blob comes once."
// Then the cache in between dies while one of them reads, who has right bytes all the
// same. "A mirror that dies in the middle of a copy does not end it: what is missing
// comes from the next one."
func TestMirror(t *testing.T) {
	t.Parallel()
	origin := distributiontest.Start(t, distributiontest.Open)
	mirror := distributiontest.StartWith(t, distributiontest.Options{Mirrors: "http://" + origin.Host})
	const layer = 6 << 20
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{layer, layer - 1}})
	origin.Push(t, "some/app", "1", image)
	hosts, work := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(hosts, origin.Host), 0o700); err != nil {
		t.Fatal(err)
	}
	table := fmt.Sprintf("[host.%q]\n", "http://"+mirror.Host)
	if err := os.WriteFile(filepath.Join(hosts, origin.Host, "hosts.toml"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := "--hosts-dir " + hosts
	mark := origin.Mark(t)

	var mounts, tars []string
	shared := t.TempDir()
	for i := range 6 {
		dir, more := shared, flags
		if i >= 3 {
			dir = t.TempDir()
		}
		if i == 5 {
			more += " --read-ahead 1MiB"
		}
		mountpoint := background(t, dir, more)
		mounts = append(mounts, mountpoint)
		tars = append(tars, filepath.Join(mountpoint, origin.Host, "some/app/tags/1/image.tar"))
	}
	var group sync.WaitGroup
	for i, tar := range tars[:3] {
		group.Go(func() { bash(t, fmt.Sprintf("cat %s >%s/copy%d", tar, work, i)) })
		group.Go(func() { bash(t, "tail -c 5M "+tar+" >/dev/null") })
	}
	group.Wait()
	bash(t, "cd "+work+" && cmp copy0 copy1 && cmp copy0 copy2 && ocidistfs pull "+flags+" --no-cache --path pulled "+origin.Host+"/some/app:1 && cmp copy0 pulled")
	for _, tar := range tars[3:5] {
		bash(t, "cmp "+tar+" "+work+"/pulled")
	}
	left := map[string]int{}
	for _, r := range origin.Since(t, mark) {
		if r.IsBlob() && r.Method == http.MethodGet {
			left[r.Path]++
		}
		if strings.Contains(r.Path, "ns=") {
			t.Errorf("the registry was asked as a mirror: %s", r.Path)
		}
	}
	if len(left) != 3 {
		t.Errorf("%d blobs left the registry, want the config and two layers: %v", len(left), left)
	}
	for path, n := range left {
		if n != 1 {
			t.Errorf("%s left the registry %d times", path, n)
		}
	}

	// The last one has read a part when the cache in between goes.
	const had = 7 << 20
	mark = origin.Mark(t)
	reading, resume := filepath.Join(work, "reading"), filepath.Join(work, "resume")
	bash(t, "mkfifo "+reading+" "+resume)
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	copying := exec.CommandContext(ctx, "bash", "-euc", fmt.Sprintf("{ head -c %d; echo >%s; read -r _ <%s; cat; } <%s >%s/copy", had, reading, resume, tars[5], work))
	copying.Stderr = os.Stderr
	if err := copying.Start(); err != nil {
		t.Fatal(err)
	}
	bash(t, "read -r _ <"+reading)
	mirror.Kill()
	bash(t, "echo >"+resume)
	if err := copying.Wait(); err != nil {
		t.Fatalf("the copy: %v", err)
	}
	bash(t, "cmp "+work+"/copy "+work+"/pulled")
	var sent int64
	for _, r := range origin.Since(t, mark) {
		if r.IsBlob() {
			sent += r.Sent
		}
	}
	if sent == 0 || sent > 2*layer-had+2<<20 {
		t.Errorf("the registry sent %d bytes, want what was missing", sent)
	}
	if got := bash(t, "ocidistfs status --json "+mounts[5]); !strings.Contains(got, mirror.Host) {
		t.Errorf("status does not tell what the mirror was asked for: %s", got)
	}
	// A tag is resolved by the registry, now that nobody else is there.
	bash(t, "ocidistfs tags "+flags+" "+origin.Host+"/some/app | grep -qx 1")
}
