package manners

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/internal/remains"
)

// A bench is what all settings share.
type bench struct {
	dir       string // everything that the test makes is below
	program   string // ocidistfs
	debian    string // a registry of version 2; "" is none
	nginx     string // "" is none
	authority *authority
	content   *content
}

// debianPath comes before the rest of PATH: Debian's programs are meant.
const debianPath = "/usr/sbin:/usr/bin:/sbin:/bin:"

func newBench(t *testing.T) *bench {
	t.Helper()
	gate.Suite(t, enabled)
	gate.Mounts(t)
	t.Setenv("PATH", debianPath+os.Getenv("PATH"))
	dir, err := os.MkdirTemp("", "manners-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b := &bench{dir: dir, program: filepath.Join(dir, "ocidistfs"), authority: newAuthority(t, dir), content: newContent(t)}
	remains.Check(t, dir)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", b.program, "../../cmd/ocidistfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	b.debian, _ = exec.LookPath("docker-registry") // b.need says what is missing
	b.nginx, _ = exec.LookPath("nginx")
	return b
}

// need ends a test whose setting cannot be had here.
func (b *bench) need(t *testing.T, s setting) {
	t.Helper()
	switch {
	case s.kind == distribution2 && b.debian == "":
		gate.Missing(t, "there is no docker-registry")
	case s.front.nginx && b.nginx == "":
		gate.Missing(t, "there is no nginx")
	}
}

// home makes a directory for something to keep its things in.
func (b *bench) home(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)+"-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A site is a setting that runs, with content.
type site struct {
	setting
	registry origin
	host     string   // as references have it
	other    *storage // where blobs are, if not at the host
	tags     []string // of the image, sorted
}

// open starts what a setting describes, from the outside in: a registry has to
// know where its users find its token server.
func (b *bench) open(t *testing.T, s setting) *site {
	t.Helper()
	b.need(t, s)
	found := &site{setting: s, tags: b.content.few}
	if s.many {
		found.tags = b.content.many
	}
	opts := distributiontest.Options{Auth: s.auth, Transport: b.authority.trusting}
	var reserved *reservation
	if s.front != (front{}) {
		reserved = reserve(t)
		found.host = reserved.address
		// Not by address: clients take one on loopback for an attack.
		opts.Realm = "https://localhost:" + reserved.port + "/token"
	}
	var behind upstream
	switch s.kind {
	case distribution2, distribution3:
		if s.kind == distribution2 {
			opts.Program = b.debian
		}
		server := distributiontest.StartWith(t, opts)
		found.registry, behind = server, upstream{address: server.Host, tokens: server.Tokens}
	case inProcess:
		server := startInProcess(t)
		found.registry, behind = server, upstream{address: server.address, login: s.auth == distributiontest.Basic}
	}
	switch {
	case s.front.nginx:
		startNginx(t, b, reserved, s.front, behind)
	case s.front.redirects:
		found.other = startStorage(t, b)
		startRedirecting(t, b, reserved, behind, found.other)
	default:
		found.host = behind.address
	}
	b.content.push(t, found.registry, found.tags)
	return found
}
