package manners

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// turnedAway mounts a site as somebody with a wrong password, and as somebody
// without any.
func turnedAway(t *testing.T, b *bench, s *site) {
	for _, l := range []login{s.login, nowhere} {
		u := newUser(t, b)
		u.logIn(t, l, s.host, distributiontest.Username, wrongPassword)
		u.mount(t, s.host)
		u.checkRefused(t, s.host, "EACCES", syscall.EACCES, "401 Unauthorized", l.source())
		_, err := u.try(t, u.stdin, u.ask("tags", s.host+"/"+imageRepository)...)
		if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || !strings.Contains(err.Error(), l.source()) {
			t.Errorf("tags: %v; want 401 and %q", err, l.source())
		}
		u.checkSecrets(t)
	}
}

// checkRefused looks at what a user may not have: everything fails for the same
// reason, which the mount tells.
func (u *user) checkRefused(t *testing.T, host, name string, errno syscall.Errno, reasons ...string) {
	t.Helper()
	image := host + "/" + imageRepository
	if _, err := os.ReadDir(u.in(image, "tags")); !errors.Is(err, errno) {
		t.Errorf("list tags: %v; want %s", err, name)
	}
	for _, path := range []string{"tags/" + imageTag + "/manifest.json", "tags/" + imageTag + "/image.tar"} {
		if _, err := os.ReadFile(u.in(image, path)); !errors.Is(err, errno) {
			t.Errorf("read %s: %v; want %s", path, err, name)
		}
	}
	told := u.text(t, ".ocidistfs/errors")
	if told == "" {
		t.Error("no errors are told")
	}
	for line := range strings.Lines(told) {
		for _, reason := range append(reasons, "\t"+name+"\t") {
			if !strings.Contains(line, reason) {
				t.Errorf("%sshould tell %q", line, reason)
			}
		}
	}
}
