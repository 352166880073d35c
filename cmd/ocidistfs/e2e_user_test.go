//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// An ordinaryUser runs the program as one who is not root.
type ordinaryUser struct {
	t    *testing.T
	home string
	path string // of programs
}

// userID is nobody's: a user that every system has.
const userID = 65534

// newUser makes a user's home, with a copy of the program that he can reach.
// Where fusermount3 is missing, which a user needs to mount, the test is skipped,
// or fails where OCIDISTFS_TEST_USER says that it is to run.
func newUser(t *testing.T) *ordinaryUser {
	t.Helper()
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if os.Getenv("OCIDISTFS_TEST_USER") != "" {
			t.Fatal("fusermount3 is missing: install the package fuse3")
		}
		t.Skip("fusermount3 is missing, without which only root mounts")
	}
	home, err := os.MkdirTemp("", "ocidistfs-user-") // below it nothing is root's
	if err != nil {
		t.Fatal(err)
	}
	u := &ordinaryUser{t, home, home + "/bin:" + os.Getenv("PATH")}
	t.Cleanup(func() {
		for exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", home+"/reg").Run() == nil { // until nothing is left
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	for _, dir := range []string{"bin", "reg", "cache", "work"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bash(t, "cp "+program+" "+home+"/bin && chown -R "+"65534:65534 "+home)
	return u
}

// run runs a script as the user, in his home.
func (u *ordinaryUser) run(script string) (string, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), commandLimit)
	defer cancel()
	var out bytes.Buffer
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", prelude+script)
	c.Dir = u.home
	c.Env = []string{"HOME=" + u.home, "PATH=" + u.path, "LC_ALL=C", raceVariable()}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

// must is run for what must succeed.
func (u *ordinaryUser) must(script string) string {
	u.t.Helper()
	out, err := u.run(script)
	if err != nil {
		u.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return out
}

// TestOrdinaryUser: "Whoever may use fusermount3 may mount." Listing, copying, a
// crash and the unmount are as they are for root.
func TestOrdinaryUser(t *testing.T) {
	u := newUser(t)
	s := registrytest.Start(t, registrytest.Options{})
	s.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{3 << 20}}))
	image := "reg/" + s.Host() + "/a/tags/1"
	openDevice(u)
	u.must("ocidistfs mount --cache-dir cache reg")
	if got := u.must("ls " + filepath.Dir(image) + " " + image); !strings.Contains(got, "image.tar") {
		t.Errorf("listed: %q", got)
	}
	u.must("cp " + image + "/image.tar work/1.tar; cmp work/1.tar " + image + "/image.tar; fails touch " + image + "/new")
	if got := u.must("stat -c '%u %g' " + image + "/digest"); got != "65534 65534\n" {
		t.Errorf("the files belong to %q", got)
	}
	if got := u.must("ocidistfs status --json reg; ocidistfs refresh reg"); !strings.Contains(got, `"state": "serving"`) {
		t.Errorf("status: %q", got)
	}
	// Not even root may look into another user's mount, unless that allowed it.
	bash(t, "fails ls "+u.home+"/reg")
	if out, err := u.run("ocidistfs mount --cache-dir cache reg"); err == nil || !strings.Contains(out, "mounted there already") {
		t.Errorf("a second mount there: %v, %q", err, out)
	}
	u.must(`pid=$(grep -o '"pid": [0-9]*' reg/.ocidistfs/status.json | grep -o '[0-9]*$'); kill -9 $pid; fails ls reg`)
	u.must("ocidistfs mount --cache-dir cache reg; cmp work/1.tar " + image + "/image.tar; ocidistfs unmount reg; rmdir reg; mkdir reg")

	out, err := u.run("ocidistfs mount --allow-other --cache-dir cache reg")
	if !userAllowOther(t) && (err == nil || !strings.Contains(out, "user_allow_other in /etc/fuse.conf")) {
		t.Errorf("--allow-other: %v, %q; want what to do", err, out)
	}
	u.path = u.home + "/bin"
	if out, err := u.run("ocidistfs mount --cache-dir cache reg"); err == nil || !strings.Contains(out, "install the package fuse3, or run as root") {
		t.Errorf("without fusermount3: %v, %q; want what to do", err, out)
	}
}

// openDevice lets users open /dev/fuse, as udev does, where it is root's alone,
// until the test ends. A user is told so before.
func openDevice(u *ordinaryUser) {
	u.t.Helper()
	info, err := os.Stat("/dev/fuse")
	if err != nil {
		u.t.Fatal(err)
	}
	if info.Mode().Perm()&0o006 == 0o006 {
		return
	}
	if out, err := u.run("ocidistfs mount --cache-dir cache reg"); err == nil || !strings.Contains(out, "chmod 666 /dev/fuse") {
		u.t.Errorf("with /dev/fuse shut: %v, %q; want what to do", err, out)
	}
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if err := os.Chmod("/dev/fuse", info.Mode().Perm()); err != nil {
			u.t.Error(err)
		}
	})
}

// userAllowOther says whether this system lets users mount for others.
func userAllowOther(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/etc/fuse.conf")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
