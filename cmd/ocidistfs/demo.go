package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-containerregistry/pkg/registry"
)

// What the demonstration looks at.
const (
	demoRepository = "demo/hello"
	demoTag        = "1.0"
)

func addDemo(app *kingpin.Application) (string, command) {
	var mountpoint string
	cmd := app.Command("demo", "Mount a small registry of its own and walk through it.").HelpLong("ocidistfs demo")
	cmd.Arg("MOUNTPOINT", "An empty directory; by default a temporary one.").StringVar(&mountpoint)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error { return demo(ctx, s, mountpoint) }
}

// demo leaves nothing behind, however it ends.
func demo(ctx context.Context, s streams, mountpoint string) (err error) {
	dir, err := os.MkdirTemp("", "ocidistfs-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	host, stop, err := demoRegistry(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := pushDemo(ctx, host+"/"+demoRepository, demoTag); err != nil {
		return err
	}
	if mountpoint == "" {
		mountpoint = filepath.Join(dir, "reg")
		if err := os.Mkdir(mountpoint, 0o755); err != nil {
			return err
		}
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	m := mount{
		Connection: connection{Anonymous: true, ReadTimeout: 30 * time.Second},
		Ahead:      demoAhead,
		Memory:     256 << 20,
		Mountpoint: mountpoint,
		CacheDir:   filepath.Join(dir, "cache"),
		TagTTL:     time.Minute, ListTTL: time.Minute, OpTimeout: time.Minute,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	}
	if err := m.check(ctx, s); err != nil {
		return err
	}
	// The mount is ended before anything of the above is removed.
	serving, unmount := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		// What goes wrong is part of the show, and no news for a log.
		ended <- m.serve(serving, slog.New(slog.DiscardHandler), func() error { close(ready); return nil })
	}()
	select {
	case err := <-ended:
		unmount()
		return err
	case <-ready:
	}
	err = walk(ctx, s.out, work, m.Mountpoint+"/"+host+"/"+demoRepository)
	unmount()
	return errors.Join(err, <-ended)
}

// walk runs the commands that a newcomer would, in other processes, since this
// one serves the mount. The first that fails ends it.
func walk(ctx context.Context, out io.Writer, work, repository string) error {
	for _, step := range []struct{ what, command string }{
		{"The tags of a repository are directories:", "ls tags"},
		{"An image is a handful of files. Nothing was downloaded for their sizes:", "ls -l tags/1.0"},
		{"The manifest is what the registry serves, byte for byte:", "cat tags/1.0/manifest.json; echo"},
		{"So its checksum is the image's digest:", "sha256sum tags/1.0/manifest.json; cat tags/1.0/digest"},
		{"Of an index, the manifest for this machine is beside it:", "cat tags/1.0/resolved-digest"},
		{"Copying image.tar is pulling the image; docker load takes it:", "cp tags/1.0/image.tar $WORK/hello.tar; ls -l $WORK/hello.tar"},
		{"It is a tarball, and can be looked into in place:", "tar tvf tags/1.0/image.tar"},
		{"Its config and layers are files too, and each platform is a directory like this one:", "ls tags/1.0/layers tags/1.0/platforms; cat tags/1.0/config.json; echo"},
		{"One file of a layer, and no more than that layer is fetched for it:", "tar xzOf tags/1.0/layers/00-*.tar.gz etc/os-release"},
		{"oci/ is an OCI layout, for skopeo, crane, regctl, oras and podman to read in place:", "cd tags/1.0/oci && find . -type f"},
		{"The mount is read-only:", "rm -f tags/1.0/digest || true"},
		{"What goes wrong is said in words:", "ls ../../../127.0.0.1:1/some/image/tags || cat ../../../.ocidistfs/errors"},
	} {
		if _, err := fmt.Fprintf(out, "\n# %s\n$ %s\n", step.what, step.command); err != nil {
			return err
		}
		// The shell changes into the mount, not we: this process must not touch it.
		c := exec.CommandContext(ctx, "/bin/sh", "-c", `cd "$REPOSITORY" && `+step.command)
		c.Dir = work
		c.Env = append(os.Environ(), "WORK="+work, "REPOSITORY="+repository, "LC_ALL=C")
		// What the shell started ends with it.
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
		said, err := c.CombinedOutput()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := out.Write(said); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.command, err)
		}
	}
	return nil
}

// demoRegistry serves an empty registry on loopback.
func demoRegistry(ctx context.Context) (host string, stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	return l.Addr().String(), func() { _ = server.Close(); <-done }, nil
}
