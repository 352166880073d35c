package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// commandLimit ends a command that hangs.
const commandLimit = 60 * time.Second

// prelude is what every script has: fails, since "!" does not end a script.
const prelude = `fails() { if "$@"; then echo "it should fail: $*" >&2; exit 1; fi; }
`

// bash runs a script that must succeed, with the program in the path, and
// returns what it writes to standard output.
func bash(t testing.TB, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", prelude+script)
	c.Env = append(os.Environ(), append([]string{raceVariable(), "LC_ALL=C", "PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH")}, env...)...)
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s%s", err, script, &out, &said)
	}
	return out.String()
}

// dockerConfig makes a configuration of docker that is logged in to a host, and
// returns the variable that names it.
func dockerConfig(t testing.TB, host string) string {
	t.Helper()
	dir := t.TempDir()
	login := base64.StdEncoding.EncodeToString([]byte(distributiontest.Username + ":" + distributiontest.Password))
	b, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": login}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return "DOCKER_CONFIG=" + dir
}

// background mounts as a user does, and returns the mountpoint. The mount ends
// with the test, whatever became of it.
func background(t testing.TB, cacheDir, flags string, env ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "reg")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).Run() == nil { // until nothing is left
		}
	})
	bash(t, "ocidistfs mount --cache-dir "+cacheDir+" "+flags+" "+dir, env...)
	return dir
}

// serverOf is the process that serves a mount.
func serverOf(t testing.TB, mountpoint string) int {
	t.Helper()
	var status struct {
		Mount struct {
			PID int `json:"pid"`
		} `json:"mount"`
	}
	if err := json.Unmarshal([]byte(bash(t, "cat "+mountpoint+"/.ocidistfs/status.json")), &status); err != nil {
		t.Fatal(err)
	}
	if status.Mount.PID <= 1 {
		t.Fatalf("the mount says that it is process %d", status.Mount.PID)
	}
	return status.Mount.PID
}

// lines are the lines of a command's output.
func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }
