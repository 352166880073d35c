package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// buildLayout builds on the image in oci/, as docker buildx build does with
// --build-context base=oci-layout://…: through BuildKit's own client. Debian 12 has
// neither buildx nor BuildKit, of which docker's engine is made in any case.
func buildLayout(t *testing.T, b *bench) {
	if _, err := exec.LookPath("runc"); err != nil {
		gate.Missing(t, "runc is not installed")
	}
	program := map[string]string{}
	for _, name := range []string{"buildkitd", "buildctl"} {
		path, err := goToolOf(t, engineModule, name)
		if err != nil {
			gate.Missing(t, "%s cannot be built: %v", name, err)
		}
		program[name] = path
	}
	home := b.home(t, "buildkit")
	socket := "unix://" + filepath.Join(home, "socket")
	buildctl := func(dir string, args ...string) command {
		return command{home: home, dir: dir, args: append([]string{program["buildctl"], "--addr", socket}, args...)}
	}
	startDaemon(t, command{home: home, args: []string{
		program["buildkitd"], "--root", filepath.Join(home, "root"), "--addr", socket, "--containerd-worker=false", "--oci-worker-snapshotter=native", "--oci-worker-net=host",
	}}, func() error {
		_, err := buildctl("", "debug", "workers").run(t)
		return err
	})
	build := filepath.Join(home, "build")
	if err := os.Mkdir(build, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(build, "Dockerfile"), []byte("FROM base\nCOPY Dockerfile /\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := b.layout(t, "buildkit-mounted", "buildkit")
	layers, err := os.ReadDir(filepath.Join(l.dir, "layers")) // of the mount, which is another process
	if err != nil {
		t.Fatal(err)
	}
	mark := b.registry.Mark(t)
	made := filepath.Join(home, "made.tar")
	buildctl(l.dir, "build", "--frontend", "dockerfile.v0", "--local", "context="+build, "--local", "dockerfile="+build,
		"--oci-layout", "mounted=oci", "--opt", "context:base=oci-layout://mounted@"+l.digest, "--output", "type=oci,dest="+made).must(t)
	(&copier{}).count(t, l, b.registry.Since(t, mark))
	members := command{home: home, args: []string{"tar", "tf", made}}.must(t)
	found := 0
	for _, layer := range layers {
		stem, isBlob := strings.CutSuffix(layer.Name(), ".tar.gz")
		_, short, _ := strings.Cut(stem, "-")
		if isBlob && strings.Contains(members, "blobs/sha256/"+short) {
			found++
		}
	}
	if found != l.blobs-1 { // all but the config, which it makes anew
		t.Errorf("what was built has %d layers of %d:\n%s", found, l.blobs-1, members)
	}
}
