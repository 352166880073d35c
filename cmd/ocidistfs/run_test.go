package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// testDigest is one that no test needs to be of anything.
const testDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestRun calls the program in ways that need no registry. The exit codes are a
// promise.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		args        string
		code        int
		out, errout string // what is said has this in it
	}{
		{"", 2, "", "usage: ocidistfs"},
		{"--help", 0, "usage: ocidistfs", ""},
		{"help", 0, "usage: ocidistfs", ""},
		{"help tags", 0, "usage: ocidistfs tags", ""},
		{"help nosuch", 2, "", "nosuch"},
		{"tags --help", 0, "\n  ocidistfs tags docker.io", ""},
		{"tags --nosuch --help", 2, "", "nosuch"},
		{"version", 0, "ocidistfs ", ""},
		{"version now", 2, "", "unexpected"},
		{"nosuch", 2, "", `"nosuch"; see ocidistfs --help`},
		{"--nosuch", 2, "", "--nosuch"},
		{"tags", 2, "", "see ocidistfs tags --help"},
		{"tags --nosuch docker.io/library/alpine", 2, "", "see ocidistfs tags --help"},
		{"tags docker.io/library/alpine docker.io/library/busybox", 2, "", "unexpected"},
		{"tags docker.io/library/alpine:3.10", 2, "", "without a tag or digest: docker.io/library/alpine;"},
		{"tags docker.io/library/alpine@" + testDigest, 2, "", "without a tag or digest"},
		{"tags alpine", 2, "", "docker.io/library/alpine;"},
		{"tags -", 2, "", "no registry host"},
		{"tags @/etc/passwd", 2, "", "@/etc/passwd"},
		{"tags --proxy nonsense docker.io/library/alpine", 2, "", "--proxy: want"},
		{"tags --proxy ftp://user:secret@proxy.example docker.io/library/alpine", 2, "", "--proxy: want"},
		{"tags --insecure BAD docker.io/library/alpine", 2, "", `--insecure ($OCIDISTFS_INSECURE): "BAD"`},
		{"manifest alpine:3.10", 2, "", "docker.io/library/alpine:3.10;"},
		{"manifest library/alpine:3.10", 2, "", "docker.io/library/alpine:3.10;"},
		{"manifest docker.io/library/alpine", 2, "", "needs a tag or a digest"},
		{"manifest docker.io/library/alpine:", 2, "", "is no tag"},
		{"manifest docker.io/library/alpine@sha256:12", 2, "", "sha256:12"},
		{"manifest docker.io/library/Alpine:3.10", 2, "", "Alpine"},
		{"manifest --platform vax docker.io/library/alpine:3.10", 2, "", "vax"},
		{"manifest --resolve=maybe docker.io/library/alpine:3.10", 2, "", "unexpected"},
		{"pull docker.io/library/alpine:3.10", 2, "", "--path is missing"},
		{"pull docker.io/library/alpine:3.10 --path=", 2, "", "--path is empty"},
		{"pull docker.io/library/alpine:3.10 --path", 2, "", "--path"},
		{"pull docker.io/library/alpine --path -", 2, "", "needs a tag or a digest"},
		{"pull --path - --anonymous --username x --password y docker.io/library/alpine:3.10", 2, "", "exclude each other"},
		{"unmount", 2, "", "MOUNTPOINT"},
		{"mount", 2, "", "MOUNTPOINT"},
		{"mount --list-ttl=-1s /mnt", 2, "", "cannot be negative"},
		{"mount --uid -1 /mnt", 2, "", "--uid"},
		{"mount --username x --password y /mnt", 2, "", "exactly one --registry"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errout bytes.Buffer
			code := run(t.Context(), strings.Fields(c.args), streams{strings.NewReader(""), &out, &errout})
			if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errout.String(), c.errout) {
				t.Errorf("exit code %d, want %d\nstdout %q, want %q\nstderr %q, want %q", code, c.code, &out, c.out, &errout, c.errout)
			}
			if c.out == "" && out.Len() > 0 || c.errout == "" && errout.Len() > 0 {
				t.Errorf("stdout %q, stderr %q", &out, &errout)
			}
			if strings.Contains(errout.String(), "secret") {
				t.Errorf("stderr shows a password: %q", &errout)
			}
		})
	}
}

// A signal that came before anything was asked.
func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errout bytes.Buffer
	code := run(ctx, []string{"tags", "127.0.0.1:1/app"}, streams{strings.NewReader(""), &out, &errout})
	if code != exitFailed || errout.String() != "ocidistfs: interrupted\n" || out.Len() > 0 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &out, &errout)
	}
}

func TestJoinDashes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"pull x --path -", "pull x --path=-"},
		{"pull x --path - --no-cache", "pull x --path=- --no-cache"},
		{"pull x --path=-", "pull x --path=-"},
		{"pull x --path=a -", "pull x --path=a " + dash},
		{"tags -", "tags " + dash},
		{"-", "" + dash},
		{"-- -", "-- " + dash},
		{"", ""},
	} {
		if got := joinDashes(strings.Fields(c.args)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q", c.args, got)
		}
	}
}

// Only our own output may end early without that being a failure.
func TestClosedEarly(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&iofs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.EPIPE}, true},
		{fmt.Errorf("pull: %w", &iofs.PathError{Op: "write", Path: os.Stderr.Name(), Err: syscall.EPIPE}), true},
		{&iofs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, false},
		{&iofs.PathError{Op: "write", Path: "/tmp/pipe", Err: syscall.EPIPE}, false},
		{&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, false},
		{errors.New("broken pipe"), false},
		{nil, false},
	} {
		if got := closedEarly(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
