//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pageLimit ends a page that hangs.
const pageLimit = 3 * time.Minute

// A docsShell runs commands as a reader of the documentation would type them, one
// after the other. It lives in mount and process namespaces of its own, so that it
// may mount at /mnt/reg, write to /tmp and install to /usr/local/bin, and that
// nothing is left of it when it ends.
type docsShell struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// enterHouse makes the directories of a reader's machine: /mnt, /tmp and /run are
// empty, home is in /mnt/.docs, and so are podman's images; the program is in
// /usr/local/bin beside what is there. What lies in one of these and is needed all
// the same keeps its place. Mounts of the program that are somebody else's are not
// seen there.
const enterHouse = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
awk '/ - fuse.ocidistfs / { print $5 }' /proc/self/mountinfo | while read -r path; do umount -cl "$(printf %b "$path")"; done
mount -t tmpfs tmpfs "$DOCS_HOUSE"
cd "$DOCS_HOUSE"
mkdir mnt tmp run old bin home
for dir in mnt tmp run; do mount --rbind /$dir $dir; done
mount -t tmpfs tmpfs /mnt
mkdir /mnt/.docs
mount --rbind . /mnt/.docs
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
chmod 1777 /tmp
for dir in $DOCS_KEEP; do
	case $dir in /mnt/* | /tmp/* | /run/*) mkdir -p $dir; mount --rbind /mnt/.docs$dir $dir ;; esac
done
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers"\ngraphroot = "%s/containers"\n' "$HOME" >$CONTAINERS_STORAGE_CONF
cd /mnt/.docs
mount --bind /usr/local/bin old
find /mnt/.docs/old -mindepth 1 -maxdepth 1 -exec ln -s -t bin {} +
rm -f bin/ocidistfs
cp $DOCS_PROGRAM bin/ocidistfs
mount --bind bin /usr/local/bin
cd "$DOCS_START"
unset DOCS_HOUSE DOCS_KEEP DOCS_PROGRAM DOCS_START OLDPWD
set +e
`

// startDocsShell starts a shell in the checkout or at home. What it knows of
// registries is h.
func startDocsShell(t *testing.T, h *docsHub, inCheckout bool) *docsShell {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	caches := strings.Fields(string(asked))
	if err != nil || len(caches) != 2 {
		t.Fatalf("%q %v", caches, err)
	}
	const home = "/mnt/.docs/home"
	start := home
	if inCheckout {
		start = checkout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), pageLimit)
	c := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	c.Env = append(h.environment(),
		"HOME="+home, "PATH=/usr/local/bin:"+os.Getenv("PATH"), "LC_ALL=C", "COLUMNS=80", raceVariable(),
		// Who builds there builds with what this test was built with.
		"GOCACHE="+caches[0], "GOMODCACHE="+caches[1], "GOFLAGS="+os.Getenv("GOFLAGS"), "GOPROXY=off",
		// Git refuses to look at a checkout that belongs to others.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"CONTAINERS_STORAGE_CONF=/mnt/.docs/storage.conf",
		"DOCS_START="+start, "DOCS_PROGRAM="+program, "DOCS_HOUSE="+t.TempDir(),
		"DOCS_KEEP="+strings.Join([]string{caches[0], caches[1], checkout, filepath.Dir(program), h.dir}, " "))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close() // it may have ended
		// The first process of a namespace takes all others with it.
		if err := c.Wait(); err != nil && !t.Failed() {
			t.Errorf("the shell: %v %s", err, &said)
		}
	})
	s := &docsShell{in, bufio.NewReader(out)}
	if out, code, err := s.run(enterHouse, true); err != nil || code != 0 {
		t.Fatalf("%v %d %s", err, code, out)
	}
	return s
}

// stepEnd comes after the output of a step, and before its exit code.
const stepEnd = "\x00"

// run runs a command, and returns what it says, be it to standard output or
// standard error, and its exit code. A script ends with the first command that
// fails, and the shell with it.
func (s *docsShell) run(command string, script bool) (said string, code int, err error) {
	option := "+e"
	if script {
		option = "-e"
	}
	quoted := "'" + strings.ReplaceAll(command, "'", `'\''`) + "'"
	if _, err := fmt.Fprintf(s.in, "set %s; eval %s </dev/null 2>&1; printf '\\0%%d\\0' $?\n", option+" -o pipefail", quoted); err != nil {
		return "", 0, err
	}
	said, err = s.out.ReadString(stepEnd[0])
	if errors.Is(err, io.EOF) {
		return said, 0, errors.New("a command of it failed")
	}
	if err != nil {
		return said, 0, err
	}
	number, err := s.out.ReadString(stepEnd[0])
	if err == nil {
		_, err = fmt.Sscan(strings.TrimSuffix(number, stepEnd), &code)
	}
	return strings.TrimSuffix(said, stepEnd), code, err
}
