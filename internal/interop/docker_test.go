package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docker is Debian's, with a daemon that has no network and leaves the host's
// alone.
func docker() loader {
	return loader{
		name: "docker load", programs: []string{"dockerd", "docker", "containerd", "runc"},
		start: startDocker,
		keeps: theName + theConfig + itRuns,
		// It takes what it does not know for a tar.
		refuses: map[string]string{"zstd": "ApplyLayer exit status 1 stdout:  stderr: unexpected EOF"},
	}
}

func startDocker(t *testing.T, b *bench) (string, load) {
	home := b.home(t, "docker")
	address := "unix://" + filepath.Join(home, "docker.sock")
	docker := func(stdin string, args ...string) command {
		return command{home: home, stdin: stdin, args: append([]string{"docker", "--host", address}, args...)}
	}
	// The machine's own configuration is not meant.
	config := filepath.Join(home, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, command{home: home, args: []string{
		"dockerd", "--host", address, "--config-file", config,
		"--data-root", filepath.Join(home, "data"), "--exec-root", filepath.Join(home, "exec"),
		"--pidfile", filepath.Join(home, "docker.pid"),
		"--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}}, func() error {
		_, err := docker("", "version").run(t)
		return err
	})
	return version(docker("", "version", "--format", "{{.Server.Version}}").must(t)), func(t *testing.T, im *image) (kept, error) {
		if _, err := docker(im.tar(), "load").run(t); err != nil {
			return "", err
		}
		identity := func(of string) string {
			out, _ := docker("", "image", "inspect", "--format", "{{.Id}}", of).run(t) // "" is not it
			return strings.TrimSpace(out)
		}
		id := im.config.String()
		said := docker("", "run", "--rm", "--network", "none", id).must(t)
		return when(im.tag != "" && identity(im.reference()) == id, theName) +
			when(identity(id) == id, theConfig) + when(said == im.line(), itRuns), nil
	}
}
