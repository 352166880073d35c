package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	dockerLoad = "docker load < image.tar"
	dockerPull = "docker pull"
)

// dockerComparison loads through the mount what docker pulls by itself. What the
// daemon uses of the processors is in neither number.
func dockerComparison() comparison {
	return comparison{
		name: "docker", needs: []string{"dockerd", "docker", "containerd", "runc", "mkfs.ext4"}, root: true, sides: dockerSides,
		results: []result{{"cold, 40 ms, 25 MB/s a connection", dockerLoad, dockerPull, "≤ 1.0"}},
	}
}

// dockerSides load and pull the big image.
func dockerSides(ctx context.Context, t *testing.T, b *bench) []side {
	docker := b.startDocker(ctx, t)
	reference := b.shaped.big()
	// check finds the image, and makes room for the next.
	check := func(t *testing.T) {
		t.Helper()
		id := strings.TrimSpace(docker.command("image", "inspect", "--format", "{{.Id}}", reference).output(ctx, t))
		if id != b.bigConfig {
			t.Errorf("the image is %s, want %s", id, b.bigConfig)
		}
		docker.command("rmi", "--force", id).must(ctx, t)
	}
	return []side{{dockerLoad, func(ctx context.Context, t *testing.T) sample {
		m := b.mount(ctx, t, b.scratch(t, b.dir))
		from := filepath.Join(m.tag(b.shaped.host, bigRepository, bigTag), "image.tar")
		s := b.measure(ctx, t, b.shaped, m, sh(docker.home, `exec docker --host "$1" load <"$2"`, docker.address, from))
		check(t)
		return s
	}}, {dockerPull, func(ctx context.Context, t *testing.T) sample {
		s := b.measure(ctx, t, b.shaped, nil, docker.command("pull", "--quiet", reference))
		check(t)
		return s
	}}}
}

// A docker is a daemon of docker's.
type docker struct{ home, address string }

// command is one of its client.
func (d docker) command(args ...string) command {
	return command{home: d.home, args: append([]string{"docker", "--host", d.address}, args...)}
}

// startDocker starts a daemon that has no network and leaves the host's alone, until the
// test ends.
func (b *bench) startDocker(ctx context.Context, t *testing.T) docker {
	t.Helper()
	d := docker{home: b.home(t, "docker")}
	d.address = "unix://" + filepath.Join(d.home, "docker.sock")
	// The machine's own configuration is not meant.
	config := filepath.Join(d.home, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Unpacked, the image is 2.5 times as large, and loading keeps it twice.
	data := b.filesystem(ctx, t, "ext4", 8*b.size+2<<30)
	startDaemon(ctx, t, command{home: d.home, args: []string{
		"dockerd", "--host", d.address, "--config-file", config,
		"--data-root", filepath.Join(data, "docker"), "--exec-root", filepath.Join(d.home, "exec"),
		"--pidfile", filepath.Join(d.home, "docker.pid"),
		"--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}}, func() bool {
		_, err := d.command("version").run(ctx)
		return err == nil
	})
	return d
}
