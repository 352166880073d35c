package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBashCompletes types at a real bash, on a terminal.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	b := startBash(t, bash, knownCache(t))
	for _, c := range []struct{ typed, want string }{
		{"oci\t", "ocidistfs"},
		{"ocidistfs pu\t", "ocidistfs pull"},
		{"ocidistfs pull reg\t", "ocidistfs pull reg.example.com:5000/"},
		{"ocidistfs pull reg\tt\t", "ocidistfs pull reg.example.com:5000/tea/pot:"},
		{"ocidistfs pull reg\tt\t\t", "ocidistfs pull reg.example.com:5000/tea/pot:1.0"},
		{"ocidistfs pull docker.io/library/alpine:l\t", "ocidistfs pull docker.io/library/alpine:latest"},
		{"ocidistfs pull docker.io/library/alpine:3\t", "ocidistfs pull docker.io/library/alpine:3.1"},
		{"ocidistfs pull docker.io/library/alpine:3.10@\t", "ocidistfs pull docker.io/library/alpine:3.10@" + testDigest},
		{"ocidistfs pull docker.io/library/alpine:3.10@sha\t", "ocidistfs pull docker.io/library/alpine:3.10@" + testDigest},
		{"ocidistfs pull docker.io/library/alpine@sha256:\t", "ocidistfs pull docker.io/library/alpine@" + testDigest},
		{"ocidistfs manifest --pl\tlinux/s\tdocker.io/library/b\t1", "ocidistfs manifest --platform=linux/s390x docker.io/library/busybox:1"},
		{"ocidistfs pull --path dist\t", "ocidistfs pull --path distinct.tar"},
		{"ocidistfs pull --path=dist\t", "ocidistfs pull --path=distinct.tar"},
		{"ocidistfs mount dir\t", "ocidistfs mount directory/"},
		{"ocidistfs tags docker.io/library/alpine:\t", "ocidistfs tags docker.io/library/alpine:"},
	} {
		if got := b.complete(t, c.typed); got != c.want {
			t.Errorf("%q became %q, want %q", c.typed, got, c.want)
		}
	}
}

// A shell is a bash on a terminal, with completion as its user has it.
type shell struct {
	terminal *os.File
	said     *bufio.Reader
}

func startBash(t *testing.T, path, cacheDir string) *shell {
	t.Helper()
	us, its, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	// Long lines are not to be broken.
	if err := unix.IoctlSetWinsize(int(its.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 1000}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		".inputrc":     "set enable-bracketed-paste off\nset bell-style none\n",
		"distinct.tar": "",
		"bashrc":       "PS1=\nsource <(ocidistfs completion bash)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, "--noprofile", "--rcfile", filepath.Join(dir, "bashrc"), "-i")
	c.Dir = dir
	c.Env = []string{
		"PATH=" + filepath.Dir(program) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + dir, "TERM=dumb", "OCIDISTFS_CACHE_DIR=" + cacheDir, "HISTFILE=", raceVariable(),
	}
	c.Stdin, c.Stdout, c.Stderr = its, its, its
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b := &shell{us, bufio.NewReader(us)}
	t.Cleanup(func() {
		_, _ = io.WriteString(us, "\x15exit\n")
		_ = its.Close()
		_, _ = io.Copy(io.Discard, b.said) // until it has ended
		_ = c.Wait()
		_ = us.Close()
	})
	return b
}

// complete types, and returns what the line is then: bash runs it as the arguments
// of a command that writes them between marks.
func (b *shell) complete(t *testing.T, typed string) string {
	t.Helper()
	const begin, end = "\x01", "\x05" // of the line, to readline
	if _, err := io.WriteString(b.terminal, typed+begin+"echo '<''<' "+end+" '>''>'\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := b.said.ReadString('\n')
		if err != nil {
			t.Fatalf("bash said %q: %v", line, err)
		}
		// What was typed has quotes between the marks.
		if _, after, ok := strings.Cut(line, "<< "); ok {
			words, _, _ := strings.Cut(after, " >>")
			return words
		}
	}
}
