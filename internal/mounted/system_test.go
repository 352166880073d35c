package mounted

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// installDebian makes a directory with a Debian: by debootstrap, or in the short form with
// those packages of this machine that every Debian has.
func installDebian(t *testing.T, dir string) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		gate.Missing(t, "this is no Debian: %v", err)
	}
	if Smoke() {
		copyEssential(t, dir)
		return
	}
	program, err := exec.LookPath("debootstrap")
	if err != nil {
		gate.Missing(t, "debootstrap is not installed: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), program, "--variant=minbase", "stable", dir).CombinedOutput()
	if err != nil {
		gate.Missing(t, "debootstrap: %v\n%s", err, out[max(0, len(out)-lastWords):])
	}
}

// copyEssential copies the files of the packages that no Debian is without, and makes
// devices.
func copyEssential(t *testing.T, dir string) {
	t.Helper()
	packages := []string{"libc6"} // which others depend on
	for line := range strings.Lines(output(t, "dpkg-query", "-W", "-f", "${Package} ${Essential} ${Priority}\n")) {
		if fields := strings.Fields(line); len(fields) == 3 && (fields[1] == "yes" || fields[2] == "required") {
			packages = append(packages, fields[0])
		}
	}
	names := map[string]bool{}
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} { // of usr/bin and so on; no package has them
		names[link] = true
	}
	for name := range strings.Lines(output(t, append([]string{"dpkg-query", "-L"}, packages...)...)) {
		// A package may say that a file is in /lib, which is a link to usr/lib.
		parent, file := filepath.Split(strings.TrimSpace(name))
		if parent, err := filepath.EvalSymlinks(parent); err == nil && file != "." && filepath.IsAbs(parent) {
			names[filepath.Join(parent, file)[1:]] = true
		}
	}
	// Documentation is often left out of images, and some names are said to be diverted.
	maps.DeleteFunc(names, func(name string, _ bool) bool {
		_, err := os.Lstat("/" + name)
		return err != nil
	})
	list := dir + ".list"
	if err := os.WriteFile(list, []byte(strings.Join(slices.Sorted(maps.Keys(names)), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	// What others change meanwhile tar fails at.
	if err := os.WriteFile(list+".not", []byte("dev\nproc\nrun\nsys\ntmp\nvar/tmp\nvar/log\nvar/cache\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := dir + ".essential"
	run(t, "tar", "-c", "-f", archive, "--no-recursion", "--exclude-from", list+".not", "--xattrs", "--xattrs-include=*", "-C", "/", "-T", list)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-x", "-p", "-f", archive, "--xattrs", "--xattrs-include=*", "-C", dir)
	run(t, "cp", "-a", "/etc/passwd", "/etc/group", "/etc/hostname", dir+"/etc/")
	run(t, "mkdir", "-p", dir+"/dev", dir+"/proc", dir+"/run", dir+"/sys")
	run(t, "mkdir", "-m", "1777", dir+"/tmp")
	run(t, "mknod", "-m", "666", dir+"/dev/null", "c", "1", "3")
	run(t, "mknod", "-m", "660", dir+"/dev/loop0", "b", "7", "0")
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
}

// changeSystem does to a system what layers do.
func changeSystem(t *testing.T, dir string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-e", "-c", `
		rm -rf usr/share/doc usr/share/man
		rm -rf etc/apt etc/dpkg
		mkdir -m 0750 -p etc/dpkg
		echo new >etc/dpkg/new
		ln etc/passwd etc/another-passwd
		ln usr/bin/dpkg usr/bin/another-dpkg
		chmod 4711 usr/bin/dpkg-query
		echo changed >>etc/group
		chown 65534:70000 etc/hostname
		touch -d @1000000000.123456789 etc/hostname
		rm -rf usr/share/locale
		ln -s /nowhere usr/share/locale
		rm -f usr/bin/awk
		mkdir usr/bin/awk
		mv usr/share/perl5 usr/share/perl-5
		mknod -m 600 dev/another c 1 7
		mknod -m 640 dev/disk b 8 17
		mkfifo 'var/a pipe'
		truncate -s 20M var/zeros
		mkdir -m 1777 "var/$(printf '\377')"
		echo text >"var/$(printf '\377')/$(printf 'a\nb')"
	`)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("change the system: %v: %s", err, out)
	}
	// As setcap(8) writes cap_net_raw+ep (linux/capability.h, struct vfs_cap_data).
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(filepath.Join(dir, "usr/bin/dpkg"), "security.capability", capability, 0); err != nil {
		t.Fatal(err)
	}
}
