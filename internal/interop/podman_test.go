package interop

import (
	"path/filepath"
	"strings"
	"testing"
)

// podman keeps its storage where the test has its things.
func podman(name string, from func(*image) command) loader {
	return loader{
		name: name, programs: []string{"podman", "conmon", "runc"},
		start: func(t *testing.T, b *bench) (string, load) { return startPodman(t, b.home(t, name), from) },
		keeps: theName + theDigest + itRuns,
	}
}

// podmanFile names the file. Of a path podman takes what follows a colon for a
// name, and the mount's have one: of the port, of the digest.
func podmanFile(im *image) command {
	return command{dir: im.dir, args: []string{"load", "-i", "image.tar"}}
}

func podmanStdin(im *image) command {
	return command{stdin: im.tar(), args: []string{"load"}}
}

// startPodman has a loader that loads from where a command says.
func startPodman(t *testing.T, home string, from func(*image) command) (string, load) {
	podman := func(c command) command {
		c.home, c.args = home, append([]string{
			"podman", "--root", filepath.Join(home, "root"), "--runroot", filepath.Join(home, "run"), "--tmpdir", filepath.Join(home, "libpod"),
			"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc",
		}, c.args...)
		return c
	}
	ask := func(args ...string) command { return podman(command{args: args}) }
	return version(ask("--version").must(t)), func(t *testing.T, im *image) (kept, error) {
		if _, err := podman(from(im)).run(t); err != nil {
			return "", err
		}
		inspect := func(of, format string) string {
			out, _ := ask("image", "inspect", "--format", format, of).run(t) // "" is not it
			return strings.TrimSpace(out)
		}
		id := im.config.Hex
		// By itself it raises limits, which not every root may.
		said := ask("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", id).must(t)
		return when(im.tag != "" && inspect(im.reference(), "{{.Id}}") == id, theName) +
			when(inspect(id, "{{.Digest}}") == im.digest.String(), theDigest) + when(said == im.line(), itRuns), nil
	}
}
