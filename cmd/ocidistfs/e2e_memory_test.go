//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestMemory: "64 programs that read at random take no more memory than --memory
// says."
func TestMemory(t *testing.T) {
	const limit = 256 << 20
	s := registrytest.Start(t, registrytest.Options{})
	layers := []int64{10 << 20, 9 << 20}
	for i := range 4 {
		s.Push(t, "a", fmt.Sprint(i), registrytest.Image(t, registrytest.ImageSpec{Layers: layers, Seed: uint64(i)}))
	}
	dir := background(t, t.TempDir(), "--memory 256MiB")
	tags := filepath.Join(dir, s.Host(), "a/tags")
	bash(t, fmt.Sprintf(`for reader in $(seq 64); do
			( for i in $(seq 6); do
				dd if=%s/$(( reader %% 4 ))/image.tar of=/dev/null bs=1M count=1 skip=$(( (reader * 37 + i * 53) %% 18 )) status=none
			done ) &
			readers+=" $!"
		done
		for reader in $readers; do wait $reader; done`, tags))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", serverOf(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no peak of memory in %s", status)
	}
	peak, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d MiB", peak>>10)
	if peak<<10 > limit && !raceEnabled {
		t.Errorf("the process took %d MiB, want at most %d", peak>>10, limit>>20)
	}
}
