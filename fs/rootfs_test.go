//go:build linux

package fs

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// odd are members of all types.
func odd() []registrytest.Member {
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	su := registrytest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: "bin/su", Mode: 0o4755, Uid: 1, Gid: 2, ModTime: when}, Content: "#!/bin/sh\n"}
	su.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.user.one": "1",
		"SCHILY.xattr.system.posix_acl_access": "\x02\x00\x00\x00"}
	return []registrytest.Member{
		{Header: tar.Header{Typeflag: tar.TypeDir, Name: "bin", Mode: 0o755}},
		su,
		{Header: tar.Header{Typeflag: tar.TypeLink, Name: "bin/also", Linkname: "bin/su", Mode: 0o4755, Uid: 1, Gid: 2, ModTime: when}},
		{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
		{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/large", Mode: 0o660, Devmajor: 259, Devminor: 70000}},
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}},
		{Header: tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}},
		{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/bin/su"}},
		registrytest.Regular("text", "two\nlines\n"),
	}
}

// pushRootfs pushes an image of one layer, and returns where its files are.
func (m *mounted) pushRootfs(t testing.TB, repo string, members ...registrytest.Member) string {
	t.Helper()
	m.registry.Push(t, repo, "1", registrytest.ImageOf(t, registrytest.Gzipped(t, registrytest.Archive(t, members...))))
	return m.repository(repo) + "/tags/1/rootfs"
}

func TestRootfsOnMount(t *testing.T) {
	m := mountRegistry(t, Options{})
	root := m.pushRootfs(t, "app", odd()...)
	for name, want := range map[string]string{
		"bin/su":    "regular file 4755 1:2 2 10 2020-02-03T04:05:06 0 0",
		"bin/also":  "regular file 4755 1:2 2 10 2020-02-03T04:05:06 0 0",
		"dev/null":  "character special file 666 0:0 1 0 1970-01-01T00:00:00 1 3",
		"dev/large": "block special file 660 0:0 1 0 1970-01-01T00:00:00 103 11170",
		"pipe":      "fifo 600 0:0 1 0 1970-01-01T00:00:00 0 0",
		"tmp":       "directory 1777 0:0 1 0 1970-01-01T00:00:00 0 0",
		"link":      "symbolic link 777 0:0 1 7 1970-01-01T00:00:00 0 0",
	} {
		got := run(t, "env", "TZ=UTC0", "stat", "--printf", "%F %a %u:%g %h %s %y %t %T", root+"/"+name)
		got = strings.Replace(strings.Replace(got, ".000000000 +0000", "", 1), " 1970-01-01 ", " 1970-01-01T", 1)
		if got = strings.Replace(got, " 2020-02-03 ", " 2020-02-03T", 1); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	inodes := strings.Fields(run(t, "stat", "--format", "%i", root+"/bin/su", root+"/bin/also", root+"/text"))
	if len(inodes) != 3 || inodes[0] != inodes[1] || inodes[0] == inodes[2] {
		t.Errorf("the inodes are %v", inodes)
	}
	if got := run(t, "readlink", root+"/link"); got != "/bin/su\n" {
		t.Errorf("link leads to %q", got)
	}
	if got := reader(t, readMapped, root+"/text"); got != "two\nlines\n" {
		t.Errorf("mapped it is %q", got)
	}
	attributes := reader(t, dumpAttributes, root+"/bin/su")
	for _, want := range []string{"security.capability", "user.one", "user.oci.layer", "sha256:"} {
		if !strings.Contains(attributes, want) {
			t.Errorf("there is no %s in %q", want, attributes)
		}
	}
	if strings.Contains(attributes, "posix_acl") { // the kernel would say that there is none
		t.Errorf("a list is among %q", attributes)
	}
	if got := strings.Fields(run(t, "find", root+"/", "-printf", "%P\n")); len(got) != 10 {
		t.Errorf("find has %v", got)
	}
	if got := m.errors(t); got != "" {
		t.Errorf("errors are %s", got)
	}
}

// TestRootfsPermissions: what is in an image has owners of its own, for others than
// whoever mounted.
func TestRootfsPermissions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes others")
	}
	m := mountRegistry(t, Options{AllowOther: true})
	file := func(name string, mode int64, uid, gid int) registrytest.Member {
		return registrytest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Uid: uid, Gid: gid}, Content: name}
	}
	root := m.pushRootfs(t, "app", file("root", 0o600, 0, 0), file("own", 0o600, 65534, 0), file("group", 0o640, 0, 65534), file("all", 0o644, 0, 0),
		file("shut", 0o044, 65534, 0), registrytest.Member{Header: tar.Header{Typeflag: tar.TypeDir, Name: "closed", Mode: 0o700}}, registrytest.Regular("closed/a", "1"))
	run(t, "chmod", "755", filepath.Dir(m.dir), filepath.Dir(filepath.Dir(m.dir)))
	for name, readable := range map[string]bool{"root": false, "own": true, "group": true, "all": true, "shut": false, "closed/a": false} {
		out, err := try(t, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", root+"/"+name)
		if (err == nil) != readable || !readable && !strings.Contains(out, "Permission denied") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
		run(t, "cat", root+"/"+name)
	}
}

// "What was read of an image's files is read by the kernel from its memory from then on."
func TestRootfsKeptByKernel(t *testing.T) {
	m := mountRegistry(t, Options{})
	root := m.pushRootfs(t, "app", registrytest.Regular("a", strings.Repeat("x", 3<<20)), registrytest.Regular("b", "1"))
	run(t, "cat", root+"/a", root+"/b")
	read := m.store.Stats().Read
	for range 3 {
		if got := run(t, "sh", "-c", fmt.Sprintf("cat %s/a %s/b | wc -c", root, root)); got != "3145729\n" {
			t.Errorf("they have %s bytes", got)
		}
	}
	if again := m.store.Stats().Read; again != read {
		t.Errorf("%d bytes were read of the cache again", again-read)
	}
}

// "With --exec programs run that are in images; without, none do."
func TestRootfsExec(t *testing.T) {
	program := registrytest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: "hello", Mode: 0o755}, Content: "#!/bin/sh\necho it runs\n"}
	for _, exec := range []bool{false, true} { // by a shell: whoever starts a program looks at it first
		m := mountRegistry(t, Options{Exec: exec})
		out, err := try(t, "sh", "-c", m.pushRootfs(t, "app", program)+"/hello")
		if (err == nil) != exec || exec && out != "it runs\n" {
			t.Errorf("with exec %t: %q, %v", exec, out, err)
		}
		options := run(t, "sh", "-c", "grep -F ' "+m.dir+" ' /proc/self/mountinfo")
		if strings.Contains(options, "noexec") == exec || !strings.Contains(options, "nosuid,nodev") {
			t.Errorf("with exec %t it is mounted as %s", exec, options)
		}
	}
}
