package interop

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/artifacts"
	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// TestAttributes: "What stands for content has attributes that name it: digest, media
// type, size, reference, registry, annotations, and how much of it is cached." As
// programs see it that know nothing of registries: getfattr reads them without a
// blob, sha256sum finds the digests to be right, and cp keeps them.
func TestAttributes(t *testing.T) {
	needsMounts(t)
	for _, program := range []string{"getfattr", "mkfs.ext4", "find", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			gate.Missing(t, "%s is not installed", program)
		}
	}
	b := bareBench(t)
	all := []*artifacts.Fixture{}
	for _, f := range artifacts.All() {
		if f.ReadOnly {
			continue // registries do not take it any more
		}
		if err := f.Push(t.Context(), b.registry.Host, f.Name); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	mounted := b.mount(t, "attributes", "--platform", "linux/amd64")
	disk := b.ext4(t)
	for _, f := range all {
		t.Run(f.Name, func(t *testing.T) {
			a := attributed{bench: b, dir: filepath.Join(mounted, b.registry.Host, f.Name, "tags", artifacts.Tag), home: b.home(t, "attributes")}
			a.cold(t)
			a.sums(t)
			a.copied(t, filepath.Join(disk, f.Name))
		})
	}
}

// attributed is an image directory in a mount.
type attributed struct {
	*bench
	dir, home string
}

// prefix is that of the attributes.
const prefix = "user.oci."

// attributes are those of all that is in a directory and below, by path in it.
func (a *attributed) attributes(t *testing.T, dir string) map[string]map[string]string {
	t.Helper()
	out := command{home: a.home, dir: dir, args: []string{"getfattr", "-R", "-P", "-h", "-d", "-m", "^user\\.oci\\.", "-e", "text", "."}}.must(t)
	all := map[string]map[string]string{}
	var of map[string]string
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		path, heads := strings.CutPrefix(lines.Text(), "# file: ")
		name, value, isAttribute := strings.Cut(lines.Text(), "=")
		switch {
		case heads:
			of = map[string]string{}
			all[filepath.Clean(path)] = of
		case isAttribute && of != nil:
			value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			of[strings.TrimPrefix(name, prefix)] = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value)
		case lines.Text() != "":
			t.Fatalf("getfattr says %q", lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// cold reads all attributes of what nobody has looked at: no blob is asked for, and
// each manifest once.
func (a *attributed) cold(t *testing.T) {
	t.Helper()
	mark := a.registry.Mark(t)
	all := a.attributes(t, a.dir)
	manifests := []string{}
	for _, r := range a.registry.Since(t, mark) {
		if r.IsBlob() {
			t.Errorf("the registry was asked for %s", r.Path)
		}
		if r.IsManifest() {
			manifests = append(manifests, r.Path)
		}
	}
	slices.Sort(manifests)
	if once := slices.Compact(slices.Clone(manifests)); len(once) != len(manifests) {
		t.Errorf("the registry was asked for %q", manifests)
	}
	paths := a.find(t, a.dir)
	if len(paths) < 10 {
		t.Fatalf("there are only %q", paths)
	}
	for _, path := range paths {
		of := all[path]
		if (of["digest"] == "") == (of["manifest.digest"] == "") {
			t.Errorf("%s has a digest %q, and of a manifest %q", path, of["digest"], of["manifest.digest"])
		}
		if !strings.HasPrefix(of["ref"], a.registry.Host+"/") || of["registry"] != a.registry.Host || of["digest"] != "" && of["mediatype"] == "" {
			t.Errorf("%s has ref %q, registry %q, media type %q", path, of["ref"], of["registry"], of["mediatype"])
		}
		if said, has := of["annotations"]; has && json.Unmarshal([]byte(said), &map[string]string{}) != nil {
			t.Errorf("%s has annotations %q", path, said)
		}
		info, err := os.Stat(filepath.Join(a.dir, path)) // another process serves it
		if err != nil {
			t.Fatal(err)
		}
		if of["size"] != strconv.FormatInt(info.Size(), 10) {
			t.Errorf("%s has %d bytes, and size %q", path, info.Size(), of["size"])
		}
	}
}

// find lists the files in a directory and below, in order.
func (a *attributed) find(t *testing.T, dir string) []string {
	t.Helper()
	out := command{home: a.home, dir: dir, args: []string{"find", ".", "-type", "f", "-print0"}}.must(t)
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		paths = append(paths, filepath.Clean(path))
	}
	slices.Sort(paths)
	return paths
}

// sums reads every file: those with a digest have it, and those are nearly all.
func (a *attributed) sums(t *testing.T) {
	t.Helper()
	mark := a.registry.Mark(t)
	out := command{home: a.home, dir: a.dir, args: []string{"find", ".", "-type", "f", "-exec", "sha256sum", "-z", "{}", "+"}}.must(t)
	once(t, a.registry.Since(t, mark))
	all := a.attributes(t, a.dir)
	checked := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		sum, path, _ := strings.Cut(line, "  ")
		path = filepath.Clean(path)
		of := all[path]
		if of["digest"] == "" {
			continue
		}
		checked[path] = true
		if of["digest"] != "sha256:"+sum {
			t.Errorf("%s has digest %s and is sha256:%s", path, of["digest"], sum)
		}
		if of["cached"] != of["size"] {
			t.Errorf("%s was read, and of %s bytes %s are cached", path, of["size"], of["cached"])
		}
	}
	// Those for which it is known before they are read.
	for _, path := range a.find(t, a.dir) {
		name := filepath.Base(path)
		named := name == "manifest.json" || name == "resolved-manifest.json" || name == "config.json" || strings.Contains(path, "blobs/sha256/") ||
			filepath.Base(filepath.Dir(path)) == "layers" && !strings.HasSuffix(name, ".json")
		if named && !checked[path] {
			t.Errorf("%s has no digest", path)
		}
	}
}

// once holds the log to each blob having been asked for once.
func once(t *testing.T, requests []distributiontest.Request) {
	t.Helper()
	asked := map[string]int{}
	for _, r := range requests {
		if r.IsBlob() {
			asked[r.Path]++
		}
	}
	for path, n := range asked {
		if n > 1 {
			t.Errorf("the registry was asked for %s %d times", path, n)
		}
	}
}

// copied copies the directory with all that cp can keep, and compares.
func (a *attributed) copied(t *testing.T, to string) {
	t.Helper()
	mark := a.registry.Mark(t)
	command{home: a.home, args: []string{"cp", "-a", a.dir, to}}.must(t)
	for _, r := range a.registry.Since(t, mark) {
		t.Errorf("the registry was asked for %s, after all was read", r.Path)
	}
	command{home: a.home, args: []string{"diff", "-r", "--no-dereference", a.dir, to}}.must(t)
	was, is := a.attributes(t, a.dir), a.attributes(t, to)
	for path, of := range was {
		if !maps.Equal(of, is[path]) {
			t.Errorf("%s had %q, its copy has %q", path, of, is[path])
		}
	}
	if len(was) != len(is) {
		t.Errorf("%d had attributes, and %d of the copies", len(was), len(is))
	}
}

// ext4 makes a file system and mounts it until the test ends.
func (b *bench) ext4(t *testing.T) string {
	t.Helper()
	home := b.home(t, "ext4")
	image, dir := filepath.Join(home, "image"), filepath.Join(home, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	command{home: home, args: []string{"truncate", "-s", "64M", image}}.must(t)
	command{home: home, args: []string{"mkfs.ext4", "-q", "-F", image}}.must(t)
	command{home: home, args: []string{"mount", "-o", "loop", image, dir}}.must(t)
	t.Cleanup(func() { command{home: home, args: []string{"umount", dir}}.must(t) })
	return dir
}
