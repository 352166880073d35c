// Command unpack unpacks the layers of an image as containerd does, and prints as
// JSON what is there then. The tests of fs/rootfs and internal/mounted compare with it.
//
// unpack overlay LAYER... unpacks each layer, the lowest first, into a directory of
// its own, and has the kernel lay those over each other. unpack directory LAYER...
// unpacks one after the other into the same directory, as containerd does where there
// is no overlayfs. Layers are plain tar archives. With -- COMMAND ARGUMENT... behind
// them, a program is run there in place of the list. unpack list DIRECTORY unpacks
// nothing and lists what is there; unpack diff BEFORE AFTER writes the layer by which
// one directory becomes the other.
//
// It needs root. All that it makes is in a mount namespace of its own, on a tmpfs,
// and gone with it.
package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"
)

// inside is the first argument of the process that has the namespace.
const inside = "inside"

func main() {
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "list":
		if err := show(args[1]); err != nil {
			fail(err)
		}
	case len(args) == 3 && args[0] == "diff":
		if err := archive.WriteDiff(context.Background(), os.Stdout, args[1], args[2]); err != nil {
			fail(err)
		}
	case len(args) > 2 && args[0] == inside:
		if err := run(args[1], args[2:]); err != nil {
			fail(err)
		}
	case len(args) < 2:
		fail(errors.New("usage: unpack overlay|directory LAYER… [-- COMMAND ARGUMENT…], unpack list DIRECTORY, unpack diff BEFORE AFTER"))
	default:
		// A process that has threads, as each of Go's has, cannot have another namespace
		// for all of them: it has to begin in it.
		c := exec.CommandContext(context.Background(), "/proc/self/exe", append([]string{inside}, args...)...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := c.Run(); err != nil {
			fail(err)
		}
	}
}

func run(how string, args []string) error {
	layers, command := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		layers, command = args[:i], args[i+1:]
	}
	work, err := private()
	if err != nil {
		return err
	}
	if len(command) == 0 { // which might look into one
		if err := letGo(); err != nil {
			return err
		}
	}
	root, err := unpack(work, how, layers)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return show(root)
	}
	c := exec.CommandContext(context.Background(), command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr = root, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c.Run()
}

// show prints what is in a directory.
func show(root string) error {
	files, err := list(root)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(files)
}

// fail ends the process. A program that was run, or this one run again, has said what
// failed, and its status is passed on.
func fail(err error) {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "unpack:", err)
	os.Exit(1)
}

// unpack unpacks layers into a directory and returns where they are in it.
func unpack(work, how string, layers []string) (string, error) {
	if how == "directory" {
		root := filepath.Join(work, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			return "", err
		}
		for _, layer := range layers {
			if err := apply(layer, root); err != nil {
				return "", err
			}
		}
		return root, nil
	}
	// Below all is an empty directory: one alone makes no overlay.
	lower := []string{"empty"}
	if err := os.Mkdir(filepath.Join(work, "empty"), 0o755); err != nil {
		return "", err
	}
	for i, layer := range layers {
		dir := fmt.Sprint("layer", i)
		if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
			return "", err
		}
		// What the layers below show is where a directory without an entry has its
		// attributes from. containerd looks into their directories one by one, and
		// finds there what the overlay has hidden too.
		below, err := overlay(work, fmt.Sprint("below", i), lower)
		if err != nil {
			return "", err
		}
		err = apply(layer, filepath.Join(work, dir),
			archive.WithConvertWhiteout(archive.OverlayConvertWhiteout), archive.WithParents([]string{below}))
		if err != nil {
			return "", err
		}
		lower = append(lower, dir)
	}
	return overlay(work, "merged", lower)
}

// private mounts a tmpfs in the namespace of this process and nowhere else.
func private() (string, error) {
	const work = "/run" // which nobody needs here
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", work, "tmpfs", 0, "mode=0755"); err != nil {
		return "", fmt.Errorf("mount a tmpfs: %w", err)
	}
	return work, nil
}

// letGo takes the mounts of ocidistfs out of the namespace: other tests wait for the end of
// theirs.
func letGo() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.Contains(line, " - fuse.ocidistfs ") {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH) // one whose name is escaped stays
		}
	}
	return nil
}

// overlay mounts directories over each other, the first at the bottom.
func overlay(work, name string, lower []string) (string, error) {
	point := filepath.Join(work, name)
	if err := os.Mkdir(point, 0o755); err != nil {
		return "", err
	}
	if len(lower) == 1 {
		return filepath.Join(work, lower[0]), nil
	}
	// The paths of a few hundred layers fit into the page that mount(2) takes only
	// if they are short.
	if err := os.Chdir(work); err != nil {
		return "", err
	}
	dirs := slices.Clone(lower)
	slices.Reverse(dirs)
	err := unix.Mount("overlay", point, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":"))
	if err != nil {
		return "", fmt.Errorf("mount an overlay of %d: %w", len(dirs), err)
	}
	return point, nil
}

func apply(layer, dir string, opts ...archive.ApplyOpt) error {
	f, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	// What is of an unknown type would be an error.
	known := func(h *tar.Header) (bool, error) { return strings.IndexByte("0123456\x00g", h.Typeflag) >= 0, nil }
	if _, err := archive.Apply(context.Background(), dir, f, append(opts, archive.WithFilter(known))...); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(layer), err)
	}
	return nil
}
