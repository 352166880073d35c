package interop

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/artifacts"
)

// An orasBench is where oras pushes from, and where the mount shows it.
type orasBench struct {
	*bench
	program, home string
	dir           string // with the files to push
	mounted       string // the registry in the mount
}

// TestOras: what oras pushes is there to be copied, under the names of the files that
// it was.
func TestOras(t *testing.T) {
	needsMounts(t)
	b := bareBench(t)
	o := &orasBench{bench: b, program: goTool(t, "oras"), home: b.home(t, "oras"), dir: filepath.Join(b.dir, "pushed")}
	o.mounted = filepath.Join(b.mount(t, "mounted"), b.registry.Host)
	t.Run("files", o.files)
	t.Run("chart", o.chart)
	t.Run("attach", o.attach)
}

// oras runs oras where the files are, and returns what it says.
func (o *orasBench) oras(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(command{home: o.home, dir: o.dir, args: append([]string{o.program}, args...)}.must(t))
}

// write writes a file to push.
func (o *orasBench) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// want holds files of an image directory to their content.
func (o *orasBench) want(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, want := range files {
		got := command{home: o.home, args: []string{"cat", filepath.Join(dir, name)}}.must(t)
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// list lists the names in a directory that match.
func (o *orasBench) list(t *testing.T, dir, pattern string) []string {
	t.Helper()
	out := command{home: o.home, dir: dir, args: []string{"find", ".", "-mindepth", "1", "-maxdepth", "1", "-name", pattern, "-printf", `%f\n`}}.must(t)
	return strings.Fields(out)
}

// files pushes files of several types, a directory, and one by a path that is
// nobody else's business.
func (o *orasBench) files(t *testing.T) {
	o.write(t, "hello.txt", "hello\n")
	o.write(t, "data.json", `{"a":1}`)
	o.write(t, "directory/inner.txt", "inner\n")
	o.write(t, "secret.txt", "secret\n")
	o.oras(t, "push", "--plain-http", "--disable-path-validation", "--artifact-type", "application/vnd.example.files", "--export-manifest", "manifest.json",
		o.registry.Host+"/files:1.0", "hello.txt:text/plain", "data.json:application/json", "directory", filepath.Join(o.dir, "secret.txt")+":text/plain")
	manifest, err := os.ReadFile(filepath.Join(o.dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(o.mounted, "files/tags/1.0")
	o.want(t, dir, map[string]string{
		"manifest.json": string(manifest), "resolved-manifest.json": string(manifest), "config.json": "{}",
		"layers/hello.txt": "hello\n", "layers/data.json": `{"a":1}`,
	})
	names := o.list(t, dir+"/layers", "03-*.blob")
	if len(names) != 1 {
		t.Fatalf("of the file that has no safe title there is %q", names)
	}
	o.want(t, dir+"/layers", map[string]string{names[0]: "secret\n"})
	if got := (command{home: o.home, args: []string{"tar", "tzf", filepath.Join(dir, "layers/directory")}}).must(t); got != "directory\ndirectory/inner.txt\n" {
		t.Errorf("the directory has %q", got)
	}
	if names := o.list(t, dir, "image.tar"); len(names) != 0 {
		t.Errorf("there is %q", names)
	}
	// What it pulls is what is copied.
	o.oras(t, "pull", "--plain-http", "--output", "pulled", "--allow-path-traversal", o.registry.Host+"/files:1.0")
	o.want(t, filepath.Join(o.dir, "pulled"), map[string]string{"hello.txt": "hello\n", "data.json": `{"a":1}`, "directory/inner.txt": "inner\n"})
}

// chart pushes a Helm chart as helm does, which is the same artifact.
func (o *orasBench) chart(t *testing.T) {
	o.write(t, "config.json", `{"name":"fixture","version":"1.0.0","apiVersion":"v2"}`)
	o.write(t, "fixture-1.0.0.tgz", zippedTar(t, "fixture/Chart.yaml", "apiVersion: v2\nname: fixture\nversion: 1.0.0\n"))
	o.oras(t, "push", "--plain-http", "--config", "config.json:application/vnd.cncf.helm.config.v1+json",
		o.registry.Host+"/charts/fixture:1.0.0", "fixture-1.0.0.tgz:application/vnd.cncf.helm.chart.content.v1.tar+gzip")
	dir := filepath.Join(o.mounted, "charts/fixture/tags/1.0.0")
	o.want(t, dir, map[string]string{"config.json": `{"name":"fixture","version":"1.0.0","apiVersion":"v2"}`})
	to := filepath.Join(o.dir, "copied.tgz")
	command{home: o.home, args: []string{"cp", filepath.Join(dir, "layers/fixture-1.0.0.tgz"), to}}.must(t)
	if got := (command{home: o.home, args: []string{"tar", "xzOf", to, "fixture/Chart.yaml"}}).must(t); !strings.Contains(got, "name: fixture\n") {
		t.Errorf("the chart says %q", got)
	}
}

// attach attaches an SBOM to an image.
func (o *orasBench) attach(t *testing.T) {
	image := artifacts.Schema2()
	if err := image.Push(t.Context(), o.registry.Host, "image"); err != nil {
		t.Fatal(err)
	}
	o.write(t, "sbom.spdx.json", `{"spdxVersion":"SPDX-2.3"}`)
	digest := o.oras(t, "attach", "--plain-http", "--artifact-type", "application/spdx+json", "--annotation", "com.example.key=value", "--format", "go-template={{.digest}}",
		o.registry.Host+"/image:"+artifacts.Tag, "sbom.spdx.json:application/spdx+json")
	dir := filepath.Join(o.mounted, "image/digests", digest)
	o.want(t, dir, map[string]string{"digest": digest + "\n", "layers/sbom.spdx.json": `{"spdxVersion":"SPDX-2.3"}`})
	if got := (command{home: o.home, args: []string{"cat", filepath.Join(dir, "manifest.json")}}).must(t); !strings.Contains(got, image.Digest.String()) {
		t.Errorf("it is about another image: %s", got)
	}
	// And from the image: the registry has no list, so that oras keeps one under a tag.
	hex := strings.TrimPrefix(digest, "sha256:")[:12]
	dir = filepath.Join(o.mounted, "image/tags", artifacts.Tag, "referrers/application_spdx+json", hex)
	o.want(t, dir, map[string]string{"digest": digest + "\n", "layers/sbom.spdx.json": `{"spdxVersion":"SPDX-2.3"}`})
	if tags := o.list(t, filepath.Join(o.mounted, "image/tags"), "*"); len(tags) != 1 {
		t.Errorf("the tags are %q", tags)
	}
}

// zippedTar is a tarball of one file.
func zippedTar(t *testing.T, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
