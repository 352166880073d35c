package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mounted is a mount of ours, and the process that serves it.
type mounted struct {
	root string
	*daemon
}

// tag is an image directory in it.
func (m *mounted) tag(host, repository, tag string) string {
	return filepath.Join(m.root, host, repository, "tags", tag)
}

// mount mounts with a cache, until close or the end of the test.
func (b *bench) mount(ctx context.Context, t *testing.T, cache string, flags ...string) *mounted {
	t.Helper()
	return b.mountAs(ctx, t, nil, b.home(t, "ocidistfs"), cache, flags...)
}

// mountAs mounts as a user, who owns the home that it is mounted in.
func (b *bench) mountAs(ctx context.Context, t *testing.T, user *uint32, home, cache string, flags ...string) *mounted {
	t.Helper()
	root, err := os.MkdirTemp(home, "mounted-")
	if err != nil {
		t.Fatal(err)
	}
	if user != nil {
		if err := os.Chown(root, int(*user), int(*user)); err != nil {
			t.Fatal(err)
		}
	}
	c := command{home: home, user: user, args: append([]string{b.program, "mount", "--foreground", "--anonymous", "--cache-dir", cache}, append(flags, root)...)}
	m := &mounted{root: root, daemon: startDaemon(ctx, t, c, func() bool { return isMounted(t, root) })}
	t.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		m.stop(t)
		if isMounted(t, root) {
			t.Errorf("%s is still mounted", root)
			detach(ctx, t, root)
		}
	})
	return m
}

// detach takes a mount away whoever uses it, after what should have done so.
func detach(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	c := command{home: "/", args: []string{"umount", "-l", dir}}
	if _, err := c.run(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
}

func isMounted(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+dir+" ")
}
