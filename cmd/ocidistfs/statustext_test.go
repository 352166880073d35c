package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB",
		12_345_678: "12.3 MB", 5_000_000_000: "5.0 GB", 7e15: "7000.0 TB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 59 * time.Second: "59 seconds", 90 * time.Second: "1 minute",
		time.Hour: "1 hour", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// A long report is cut where a person has seen enough.
func TestWriteReports(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := mountReport{Mountpoint: "/mnt/reg", State: "serving", Mount: &mountStatus{
		Version: "v1", Started: now.Add(-time.Hour), CacheDir: "/cache",
		CacheRoom:  cache.Room{MaxBytes: 10e9, Free: 3e9, LeastFree: 1e9},
		Cache:      cache.Stats{Active: 2, Mismatches: 1},
		Offline:    true,
		Stale:      []staleTag{{Reference: "r.io/a:1", Age: "10m0s"}, {Reference: "r.io/a:2", Age: "1s"}},
		Layers:     []layerPass{{Read: 1000, Size: 1e6}, {Read: 500, Size: 500}},
		Registries: registry.Stats{Hosts: map[string]registry.HostStats{}},
	}}
	for i := range 12 {
		r.Mount.Registries.Hosts[fmt.Sprintf("host%02d.example", i)] = registry.HostStats{Requests: int64(i)}
		r.Errors = append(r.Errors, mountError{Time: now, Path: fmt.Sprintf("path%02d", i), Error: "said", Count: i})
	}
	var out, errout bytes.Buffer
	others := []mountReport{{Mountpoint: "/old", State: "stale", Error: "gone"}, {Mountpoint: "/theirs", State: "closed", Error: "permission denied"}}
	if err := writeReports(streams{nil, &out, &errout}, append([]mountReport{r}, others...), now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  offline    no request is made\n",
		"  stale      2 tags, since registries fail; the first: r.io/a:1, of 10m0s ago\n",
		"  layers     2 layers being read, to look into images: 1.5 kB of 1.0 MB\n",
		"             10.0 GB at most; 3.0 GB are free on its disk, of which 1.0 GB are left alone\n",
		"/mnt/reg\n", "(1 hour)\n", "  transfers  2 active;", "1 blob did not match the digest\n",
		"             host11.example: 11, 0 B\n             host10.example", "and 2 more hosts\n",
		"  errors     0 seconds ago, path07: said (7 times)\n", "7 more in /mnt/reg/.ocidistfs/errors\n",
		"\n\n/old\n  state      gone\n  way out    ocidistfs unmount /old\n",
		"\n\n/theirs\n  state      permission denied\n             another user mounted it, without --allow-other\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "host01.example") || strings.Contains(out.String(), "path06") || errout.Len() > 0 {
		t.Errorf("too much is said:\n%s%s", &out, &errout)
	}
	out.Reset()
	if err := writeReports(streams{nil, &out, &errout}, nil, now); err != nil || out.Len() > 0 || errout.Len() == 0 {
		t.Errorf("nothing mounted: %v, %q, %q", err, &out, &errout)
	}
}
