//go:build linux

package fs

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func refreshAs(args []string) error {
	if len(args) > 1 {
		uid, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if err := syscall.Setuid(uid); err != nil {
			return err
		}
	}
	return Refresh(context.Background(), args[0])
}

// TestRefresh: "After a refresh the next look asks the registry."
func TestRefresh(t *testing.T) {
	for _, below := range []string{"", "HOST", "HOST/a", "HOST/a/tags", "HOST/a/tags/moved", "HOST/a/tags/moved/image.tar", "HOST/a/tags/absent"} {
		t.Run(below, func(t *testing.T) {
			m := mountRegistry(t, Options{})
			push := func(tag string, seed uint64) string {
				return m.registry.Push(t, "a", tag, registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Seed: seed})).String() + "\n"
			}
			push("moved", 1)
			push("gone", 2)
			tags := m.repository("a") + "/tags"
			// Everything is looked at, so that the kernel knows it too.
			look := func() string {
				_, _ = try(t, "ls", "-l", tags+"/absent", tags+"/gone")
				return run(t, "bash", "-c", "ls -lR "+tags+"/moved >/dev/null; cat "+tags+"/moved/digest")
			}
			before := look()
			after := push("moved", 3)
			m.registry.Untag("a", "gone")
			pushed := push("absent", 4)
			if got := look(); got != before {
				t.Fatalf("without a refresh the tag is %q, want %q", got, before)
			}
			reader(t, refreshPath, filepath.Join(m.dir, strings.Replace(below, "HOST", m.registry.Host(), 1)))
			if got := run(t, "cat", tags+"/moved/digest"); got != after {
				t.Errorf("the tag that moved is %q, want %q", got, after)
			}
			if strings.Contains(below, "moved") {
				return // the other tags were not spoken of
			}
			if got := run(t, "cat", tags+"/absent/digest"); got != pushed {
				t.Errorf("the tag that was absent is %q, want %q", got, pushed)
			}
			if out, err := try(t, "stat", tags+"/gone"); err == nil || !strings.Contains(out, "No such file") {
				t.Errorf("the tag that is gone: %v, %s", err, out)
			}
			if got := run(t, "ls", tags); got != "absent\nmoved\n" {
				t.Errorf("listed: %q", got)
			}
		})
	}
}

// A shell in a tag's directory stays there when that is refreshed, and an open
// file what it is.
func TestRefreshWhileInUse(t *testing.T) {
	m := mountRegistry(t, Options{})
	push := func(seed uint64) string {
		return m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Seed: seed})).String() + "\n"
	}
	before := push(1)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := m.repository("a") + "/tags/1"
	held := run(t, "bash", "-c", fmt.Sprintf("cd %s; exec 3<digest; cat digest; env %s=%s %s .; pwd -P; cat <&3", dir, readerVariable, refreshPath, program))
	if want := before + dir + "\n" + before; held != want {
		t.Errorf("a shell in the directory saw %q, want %q", held, want)
	}
}

// Where a registry is silent the kernel can be told nothing for a while. The other
// directories do not wait for that.
func TestRefreshBesideASilentRegistry(t *testing.T) {
	m := mountRegistry(t, Options{OpTimeout: 3 * time.Second})
	push := func(repo string, seed uint64) string {
		return m.registry.Push(t, repo, "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Seed: seed})).String() + "\n"
	}
	push("a", 1)
	push("silent", 1)
	for _, repo := range []string{"a", "silent"} {
		run(t, "cat", m.repository(repo)+"/tags/1/digest")
	}
	after := push("a", 2)
	m.registry.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Repository == "silent" {
			m.registry.Silent()(w, r, req, next)
			return
		}
		next(w, r)
	})
	m.registry.Forget()
	hung := make(chan error)
	go func() { _, err := try(t, "cat", m.repository("silent")+"/tags/new/digest"); hung <- err }()
	for m.registry.Count(registrytest.Manifest) == 0 {
		runtime.Gosched()
	}
	refreshed := make(chan struct{})
	go func() {
		defer close(refreshed)
		program, _ := os.Executable()
		out, err := try(t, "env", readerVariable+"="+refreshPath, program, m.dir)
		if err != nil && !strings.Contains(out, errKernelWaits.Error()) { // in time or not, it has taken effect
			t.Errorf("the refresh: %v, %s", err, out)
		}
	}()
	for run(t, "cat", m.repository("a")+"/tags/1/digest") != after {
		select {
		case <-refreshed:
			if run(t, "cat", m.repository("a")+"/tags/1/digest") != after {
				t.Error("the tag of the other repository is what it was")
			}
		default:
			continue
		}
		break
	}
	<-refreshed
	if err := <-hung; err == nil {
		t.Error("the silent registry answered")
	}
}

// Only who mounted may make a mount ask again; and only where there is something
// to ask.
func TestRefreshRefused(t *testing.T) {
	m := mountRegistry(t, Options{AllowOther: true})
	d := m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}}))
	for d := filepath.Dir(m.dir); d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		run(t, "chmod", "755", d)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"nothing here ever changes", []string{m.repository("a") + "/digests/" + d.String() + "/layers"}},
		{"nothing here ever changes", []string{m.dir + "/.ocidistfs/errors"}},
		{"no mount of ocidistfs", []string{filepath.Dir(m.dir)}},
		{"no mount of ocidistfs", []string{"/"}},
		{"no such file or directory", []string{filepath.Dir(m.dir) + "/none/none"}},
		{"permission denied", []string{m.repository("a") + "/tags", "65534"}},
	} {
		out, err := try(t, "env", append([]string{readerVariable + "=" + refreshPath, program}, c.args...)...)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%q: %v, %q, want %q", c.args, err, out, c.want)
		}
	}
	if got := m.errors(t); !strings.Contains(got, "EACCES") {
		t.Errorf("the errors are %q", got)
	}
}
