package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// clientOf returns a client without credentials of its own. It repeats nothing,
// unless told to: most tests are about what one request does.
func clientOf(t testing.TB, opts Options) *Client {
	t.Helper()
	if opts.Keychain == nil {
		opts.Keychain = Anonymous()
	}
	if opts.Retries == 0 {
		opts.Retries = -1
	}
	c := NewClient(opts)
	t.Cleanup(c.Close)
	return c
}

func repositoryOf(t testing.TB, c *Client, name string) *Repository {
	t.Helper()
	r, err := c.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// proxied returns options for a client that reaches every host over plain HTTP
// at s: a server takes what a proxy is asked for. It refuses CONNECT.
func proxied(t testing.TB, s *registrytest.Server, hosts ...string) Options {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	return Options{Proxy: u, Insecure: hosts}
}

// asked is the log of a server: kinds of requests, and with which authorization.
func asked(s *registrytest.Server) string {
	var log []string
	for _, r := range s.Requests() {
		if r.Method == http.MethodConnect {
			continue
		}
		line := string(r.Kind)
		if r.Method != http.MethodGet {
			line = r.Method + " " + line
		}
		if r.Authorization != "" {
			line += " by " + r.Authorization
		}
		log = append(log, line)
	}
	return strings.Join(log, ", ")
}

func TestRepositoryIsTheSame(t *testing.T) {
	c := clientOf(t, Options{})
	a := repositoryOf(t, c, "docker.io/alpine")
	for _, name := range []string{"docker.io/library/alpine", "index.docker.io/alpine", "registry-1.docker.io/library/alpine"} {
		if repositoryOf(t, c, name) != a {
			t.Errorf("%s is another repository than docker.io/alpine", name)
		}
	}
	if a.Name() != "docker.io/library/alpine" || a.Host() != "docker.io" {
		t.Errorf("it is called %s on %s", a.Name(), a.Host())
	}
	for _, name := range []string{"", "alpine", "docker.io/alpine:3.10", "docker.io/", "docker.io/a/../b"} {
		if _, err := c.Repository(name); err == nil {
			t.Errorf("%q is a repository", name)
		}
	}
}

func TestRepositoriesAreBounded(t *testing.T) {
	c := clientOf(t, Options{})
	for i := range rememberedRepositories + 10 {
		repositoryOf(t, c, fmt.Sprintf("host%d.example.com/a", i))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.repositories) > rememberedRepositories || len(c.hosts) > rememberedRepositories {
		t.Errorf("%d repositories and %d hosts are remembered", len(c.repositories), len(c.hosts))
	}
}

func TestStats(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.PutBlob("a", make([]byte, 1000))
	c := clientOf(t, Options{})
	if _, _, err := get(t, repositoryOf(t, c, s.Host()+"/a"), d, 0, 1000); err != nil {
		t.Fatal(err)
	}
	// Of the ping there are two: the first is for TLS.
	if got := c.Stats(); got.Requests != 3 || got.Bytes != 1000 || got.Hosts[s.Host()] != (HostStats{Requests: 3, Bytes: 1000}) {
		t.Errorf("stats are %+v", got)
	}
}
