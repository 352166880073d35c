package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// containerdPrograms are a containerd, its client and what starts containers.
type containerdPrograms struct {
	daemon, client string
	path           string // where the daemon finds the shim, for [command]
}

// debianContainerd is what is in PATH.
func debianContainerd(*testing.T) containerdPrograms {
	return containerdPrograms{daemon: "containerd", client: "ctr"}
}

// builtContainerd is the version that internal/loaders pins.
func builtContainerd(t *testing.T) containerdPrograms {
	shim := goTool(t, "containerd-shim-runc-v2")
	return containerdPrograms{
		daemon: goTool(t, "containerd"), client: goTool(t, "ctr"), path: filepath.Dir(shim) + ":",
	}
}

// containerd imports as kind does.
func containerd(name string, programs func(t *testing.T) containerdPrograms, installed ...string) loader {
	return loader{
		name: name, programs: append(installed, "runc"),
		start: func(t *testing.T, b *bench) (string, load) { return startContainerd(t, b.home(t, name), programs(t)) },
		keeps: theName + theDigest + itRuns,
	}
}

// containerdConfig keeps everything in one place, and leaves out what would set
// up the host: networks for Kubernetes, loop devices, /opt/containerd. Versions
// differ in which of it they know.
const containerdConfig = `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[ttrpc]
  address = %q
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/%s"
  snapshotter = %q
`

// snapshotter is one that works on every file system.
const snapshotter = "native"

func startContainerd(t *testing.T, home string, programs containerdPrograms) (string, load) {
	address := filepath.Join(home, "c.sock")
	config := filepath.Join(home, "config.toml")
	text := fmt.Sprintf(containerdConfig, filepath.Join(home, "root"), filepath.Join(home, "state"), address, address+".ttrpc", runtime.GOARCH, snapshotter)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctr := func(stdin string, args ...string) command {
		return command{home: home, stdin: stdin, args: append([]string{programs.client, "--address", address, "--namespace", "k8s.io"}, args...)}
	}
	startDaemon(t, command{home: home, path: programs.path, args: []string{programs.daemon, "--config", config}}, func() error {
		_, err := ctr("", "version").run(t)
		return err
	})
	return version(ctr("", "version").must(t)), func(t *testing.T, im *image) (kept, error) {
		if _, err := ctr(im.tar(), "images", "import", "--all-platforms", "--digests", "--snapshotter", snapshotter, "-").run(t); err != nil {
			return "", err
		}
		names := namesOf(ctr("", "images", "list").must(t), im.digest.String())
		named, run := false, ""
		for _, name := range names {
			if run == "" || name == im.reference() {
				run = name
			}
			named = named || name == im.reference()
		}
		said := ""
		if run != "" {
			said = ctr("", "run", "--rm", "--snapshotter", snapshotter, run, "interop").must(t)
		}
		return when(named, theName) + when(len(names) > 0, theDigest) + when(said == im.line(), itRuns), nil
	}
}

// namesOf are the names that a list of images has for a digest: REF TYPE DIGEST
// and so on.
func namesOf(list, digest string) []string {
	var names []string
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == digest {
			names = append(names, fields[0])
		}
	}
	return names
}
