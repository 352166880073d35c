package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/artifacts"
	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// A copier is a program that takes an image from oci/ in its image directory, in
// place.
type copier struct {
	name     string
	programs []string // what it needs of the system's
	// copy takes the image and returns the digest by which it is known then. The
	// target is a reference in a registry without content.
	copy func(t *testing.T, home string, l *layout, target string) (string, error)
	// partial says that it fetches no layer.
	partial bool
	// refuses says of contents that are not taken what is said of them.
	refuses map[string]string
}

// A layout is what is in a mount that nothing was read from yet.
type layout struct {
	dir    string // the image directory
	tag    string // "" where it has no name
	digest string // of the manifest that is in the layout
	docker bool   // of Docker's schema 2
	blobs  int    // that it refers to, each once
}

// oci is the layout, relative to the image directory: several programs take a colon
// for the end of a path, and the mount's have one, of the port.
func (l *layout) oci() string {
	if l.tag == "" {
		return "oci"
	}
	return "oci:" + l.tag
}

// TestLayout: "oci/ is an OCI image layout of the resolved image." Other programs use
// it in place, and what they push from it has the digest that it has in the registry.
func TestLayout(t *testing.T) {
	needsMounts(t)
	b := bareBench(t)
	for _, c := range []*copier{
		skopeoCopy(), skopeoInspect(), cranePushLayout(), regctlCopy(), orasCopy(), umociUnpack(), podmanPull(),
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
	t.Run("docker buildx", func(t *testing.T) { buildLayout(t, b) })
}

// contents are what is copied, by the names of fixtures; "digest" is looked up by its
// digest.
var contents = []string{"buildkit", "schema2", "layers", "chart", "digest"}

func (c *copier) test(t *testing.T, b *bench) {
	for _, program := range c.programs {
		if _, err := exec.LookPath(program); err != nil {
			gate.Missing(t, "%s is not installed", program)
		}
	}
	for _, content := range contents {
		t.Run(content, func(t *testing.T) {
			l := b.layout(t, c.name+"-"+content, content)
			to := distributiontest.Start(t, distributiontest.Open)
			program, _, _ := strings.Cut(c.name, " ")
			// Nothing that was kept of other content is kept there. Podman takes no more
			// than 50 characters.
			home := b.home(t, program+"-"+content)
			mark := b.registry.Mark(t)
			got, err := c.copy(t, home, l, to.Host+"/copied:1")
			if want, refuses := c.refuses[content]; refuses {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want it to be refused since %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != l.digest {
				t.Errorf("it is %s, want %s", got, l.digest)
			}
			c.count(t, l, b.registry.Since(t, mark))
		})
	}
}

// count holds a copier to what its work takes: each blob once, or of all the config
// alone.
func (c *copier) count(t *testing.T, l *layout, requests []distributiontest.Request) {
	t.Helper()
	manifests, blobs := 0, []string{}
	for _, r := range requests {
		switch {
		case r.IsManifest():
			manifests++
		case r.IsBlob():
			blobs = append(blobs, r.Path)
		}
	}
	slices.Sort(blobs)
	want := l.blobs
	if c.partial {
		want = 1
	}
	if once := len(slices.Compact(slices.Clone(blobs))); len(blobs) != once || once != want {
		t.Errorf("the registry was asked for blobs %q, want %d, each once", blobs, want)
	}
	if manifests != 0 { // whoever found the directory has them
		t.Errorf("the registry was asked for %d manifests", manifests)
	}
}

// layout pushes content and mounts it, with a cache of its own.
func (b *bench) layout(t *testing.T, name, content string) *layout {
	t.Helper()
	byDigest := content == "digest"
	if byDigest {
		content = "layers"
	}
	i := slices.IndexFunc(artifacts.All(), func(f *artifacts.Fixture) bool { return f.Name == content })
	if i < 0 {
		t.Fatalf("there is no fixture %s", content)
	}
	f := artifacts.All()[i]
	if err := f.Push(t.Context(), b.registry.Host, content); err != nil {
		t.Fatal(err)
	}
	l := &layout{tag: artifacts.Tag, docker: content == "schema2"}
	below := filepath.Join("tags", l.tag)
	if byDigest {
		l.tag, below = "", filepath.Join("digests", f.Digest.String())
	}
	l.dir = filepath.Join(b.mount(t, name, "--platform", "linux/amd64"), b.registry.Host, content, below)
	digest, err := os.ReadFile(filepath.Join(l.dir, "resolved-digest"))
	if err != nil {
		t.Fatal(err)
	}
	l.digest = strings.TrimSpace(string(digest))
	blobs, err := os.ReadDir(filepath.Join(l.dir, "oci", "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	l.blobs = len(blobs) - 1 // and the manifest
	return l
}
