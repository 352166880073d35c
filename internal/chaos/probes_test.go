package chaos

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// promptNames are what shell prompts look for, in the working directory and all
// above it: no registry can have a tag of the first ones, and may of the others.
var promptNames = []string{
	".git", ".hg", ".svn", ".jj", ".fossil", ".pijul", ".python-version", ".nvmrc", ".node-version", ".tool-versions", ".terraform",
	".envrc", ".editorconfig", ".Trash-1000", ".hidden", ".directory",
	"package.json", "Cargo.toml", "go.mod", "pom.xml", "Makefile", "Dockerfile", "pyproject.toml",
}

// prompt stats them all.
const prompt = `cd "$1" || exit; shift; d=$PWD
while :; do for name; do test -e "$d/$name"; done; test "$d" = / && exit; d=$(dirname "$d"); done`

// TestProbes runs what looks around by itself on every machine, and counts what a
// registry is asked for on its behalf.
func TestProbes(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	const tags = 20
	for n := range tags {
		image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10_000}, Seed: uint64(n)})
		r.Push(t, "team/app", fmt.Sprint("v", n), image)
	}
	repository := func(m *mounted) string { return m.in(r.Host(), "team", "app") }
	for _, c := range []struct {
		name string
		// args is the program; ROOT is the mount, REPO a repository in it.
		args []string
		// most is how many requests it may make, of manifests and lists.
		most int
	}{
		// git looks whether a directory is a repository by itself, with a file HEAD:
		// a registry can have a tag of that name.
		{"git status in tags", []string{"sh", "-c", `cd "$1" && git status; true`, "sh", "REPO/tags"}, 1},
		{"git status in an image", []string{"sh", "-c", `cd "$1" && git status; true`, "sh", "REPO/tags/v1"}, 2},
		{"a prompt above the tags", append([]string{"sh", "-c", prompt, "sh", "REPO"}, promptNames...), 0},
		{"a prompt in tags", append([]string{"sh", "-c", prompt, "sh", "REPO/tags"}, promptNames...), 7},
		{"a prompt in an image", append([]string{"sh", "-c", prompt, "sh", "REPO/tags/v1"}, promptNames...), 8},
		{"find -maxdepth 4", []string{"find", "ROOT", "-maxdepth", "4"}, 1},
		{"find, all", []string{"find", "ROOT"}, 1 + tags},
		{"updatedb", []string{"sh", "-c", `find "$1" -xdev -printf "%p %s %T@\n"`, "sh", "ROOT"}, 1 + tags},
		{"du", []string{"du", "-s", "ROOT"}, 1 + tags},
		{"ls -lR", []string{"ls", "-lR", "ROOT"}, 1 + tags},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "git") {
				if _, err := exec.LookPath("git"); err != nil {
					gate.Missing(t, "there is no git")
				}
			}
			cache := b.home(t, "cache")
			m := b.mount(t, cache)
			// Known, so that there is something to walk over, and old: another mount of
			// that cache was there before.
			b.must(t, "cat", filepath.Join(repository(m), "tags", "v0", "digest"))
			m.stop(t)
			m.start(t)
			r.Forget()
			args := slices.Clone(c.args)
			for i := range args {
				args[i] = strings.NewReplacer("ROOT", m.root, "REPO", repository(m)).Replace(args[i])
			}
			first := b.run(args...)
			if first.err != nil && !strings.HasPrefix(c.name, "a prompt") { // test(1) of the last name
				t.Errorf("%v", first)
			}
			requests := r.Requests()
			checkRequests(t, requests)
			asked := 0
			kinds := map[registrytest.Kind]int{}
			for _, q := range requests {
				kinds[q.Kind]++
				if q.Kind != registrytest.Ping {
					asked++
				}
			}
			r.Forget()
			b.run(args...)
			t.Logf("%-24s %3d requests %v; again: %d", c.name, asked, kinds, r.Count())
			if asked > c.most {
				t.Errorf("%d requests, want at most %d: %+v", asked, c.most, requests)
			}
			if n := r.Count(); n > 0 {
				t.Errorf("again %d requests: %+v", n, r.Requests())
			}
		})
	}
}

// checkRequests fails for what cannot exist, and for the bytes of a layer, which
// nobody asked for by looking.
func checkRequests(t *testing.T, requests []registrytest.Request) {
	t.Helper()
	for _, q := range requests {
		switch {
		case q.Kind == registrytest.Blob, q.Kind == registrytest.Other:
			t.Errorf("a request for %s", q.Path)
		case q.Kind == registrytest.Manifest && !strings.HasPrefix(q.Reference, "sha256:") && !registry.ValidTag(q.Reference):
			t.Errorf("a request for what is no tag: %s", q.Path)
		case q.Repository != "" && q.Repository != "team/app":
			t.Errorf("a request for what is no repository: %s", q.Path)
		}
	}
}
