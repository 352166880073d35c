package manners

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// commandLimit ends a command that hangs.
const commandLimit = time.Minute

// A user has a home, a mount and a cache of his own, and nothing of the
// environment that the test runs in.
type user struct {
	bench      *bench
	home       string
	env        []string
	flags      []string // of every command that asks a registry
	stdin      string   // the same
	configured []string // files that may hold a password

	said bytes.Buffer // whatever a command said
	root string       // the mountpoint
}

// newUser makes one who trusts the authority.
func newUser(t *testing.T, b *bench) *user {
	t.Helper()
	u := &user{bench: b, home: b.home(t, "user"), flags: []string{"--ca-cert", b.authority.path}}
	u.env = []string{"PATH=" + filepath.Join(u.home, "bin") + ":" + os.Getenv("PATH"), "HOME=" + u.home, "TMPDIR=" + u.home, "LC_ALL=C"}
	return u
}

// try runs a command and returns what it writes to standard output.
func (u *user) try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	// Not the test's own context: cleanups run commands too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env, c.Dir, c.Stdin = u.env, u.home, strings.NewReader(stdin)
	c.WaitDelay = 5 * time.Second // for those who inherited its output
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, &out, &said)
	}
	u.said.Write(out.Bytes())
	u.said.Write(said.Bytes())
	return out.String(), err
}

// run runs a command that has to succeed.
func (u *user) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := u.try(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ask is what runs ocidistfs for a command that asks a registry.
func (u *user) ask(command string, args ...string) []string {
	return slices.Concat([]string{u.bench.program, command}, u.flags, args)
}

// mount mounts, and unmounts when the test ends.
func (u *user) mount(t *testing.T, host string) {
	t.Helper()
	u.root = filepath.Join(u.home, "reg")
	if err := os.Mkdir(u.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := u.try(t, u.stdin, u.ask("mount", "--registry", host, "--platform", platform,
		"--tag-ttl", "1h", "--list-ttl", "1h", "--cache-dir", u.path("cache"), "--log-file", u.path("log"), "--log-level", "debug", u.root)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\nlog:\n%s", u.text(t, ".ocidistfs/errors"), readFile(t, u.path("log")))
		}
		if _, err := u.try(t, "", u.bench.program, "unmount", u.root); err != nil {
			t.Error(err)
		}
	})
}

// path is that of something in the user's home.
func (u *user) path(name string) string { return filepath.Join(u.home, name) }

// in is a path in the mount.
func (u *user) in(parts ...string) string {
	return filepath.Join(append([]string{u.root}, parts...)...)
}

// text is a file in the mount.
func (u *user) text(t *testing.T, parts ...string) string {
	t.Helper()
	return string(readFile(t, u.in(parts...)))
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return b
}

// status is what the mount says of itself.
type status struct {
	Mount struct {
		PID   int `json:"pid"`
		Cache struct {
			Fetched int64 `json:"fetchedBytes"`
		} `json:"cache"`
	} `json:"mount"`
}

func (u *user) status(t *testing.T) (s status) {
	t.Helper()
	if err := json.Unmarshal([]byte(u.text(t, ".ocidistfs/status.json")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Mount.PID <= 1 {
		t.Fatalf("the mount says that it is process %d", s.Mount.PID)
	}
	return s
}
