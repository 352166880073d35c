package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// hostsDir makes a directory of files, by their paths in it.
func hostsDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHostsFile(t *testing.T) {
	endpoints, unknown, err := parseHosts([]byte(`
server = "https://registry.example.com"
capabilities = ["pull", "resolve"]
skip_verify = true
[header]
  x-one = "1"

[host."https://z.example.com"]
[host."https://z.example.com".header]
  x-two = ["2", "3"]

[host."http://a.example.com:5000/prefix/"]
  capabilities = ["Pull"]
  ca = "ca.pem"
  client = "both.pem"
  dial_timeout = "3s"
  proxy = "http://proxy.example.com:3128"
  colour = "red"

[host."m.example.com/v2/project"]
  override_path = true
  ca = ["/etc/ca.pem", "other.pem"]
  client = [["client.cert", "client.key"], ["one.pem", ""], "two.pem"]

[host."https://b.example.com/v2"]
`), "/dir")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range endpoints {
		line := fmt.Sprintf("%s %s %s %d", e.scheme, e.host, e.root, e.can)
		if len(e.authorities)+len(e.pairs) > 0 {
			line += fmt.Sprint(e.authorities, e.pairs)
		}
		if e.skipVerify {
			line += " unverified"
		}
		if len(e.header) > 0 {
			line += fmt.Sprint(e.header)
		}
		if e.dialTimeout > 0 {
			line += " " + e.dialTimeout.String()
		}
		if e.proxy != nil {
			line += " by " + e.proxy.Host
		}
		got = append(got, line)
	}
	if want := []string{
		"https z.example.com /v2 0map[X-Two:[2 3]]",
		"http a.example.com:5000 /prefix/v2 1[/dir/ca.pem] [[/dir/both.pem ]] 3s by proxy.example.com:3128",
		"https m.example.com /v2/project 0[/etc/ca.pem /dir/other.pem] [[/dir/client.cert /dir/client.key] [/dir/one.pem ] [/dir/two.pem ]]",
		"https b.example.com /v2 0",
		"https registry.example.com /v2 3 unverifiedmap[X-One:[1]]",
	}; !slices.Equal(got, want) {
		t.Errorf("endpoints\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(unknown, []string{"host.http://a.example.com:5000/prefix/.colour"}) && len(unknown) != 1 {
		t.Errorf("unknown keys %q", unknown)
	}
	// Without a server it is the registry itself, which can do everything.
	endpoints, _, err = parseHosts([]byte("capabilities = ['pull']\nskip_verify = true\n[host.'https://m.example.com']"), "/dir")
	if err != nil || len(endpoints) != 2 || endpoints[1].host != "" || endpoints[1].can != 0 || !endpoints[1].skipVerify {
		t.Errorf("%+v, %v", endpoints, err)
	}
}

func TestHostsFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"server = \n": "line 1",
		"server = 'https://x.io'\nserver = 'https://y.io'": "line 2",
		"\nserver = 3":                                                       "line 2",
		"server = 'ftp://x.io'":                                              "line 1: server",
		"server = 'https://u:p@x.io'":                                        "line 1: server",
		"\n\nhost = 3":                                                       "line 3",
		"\n[host]\n'https://m.io' = 3":                                       "line 3",
		"[host.'https://m.io']\n[host.'https://m.io?x=y']":                   "line 2",
		"[host.'https://m.io']\ncapabilities = ['pull', 'fly']":              "line 2",
		"[host.'https://m.io']\nca = 3":                                      "line 2",
		"[host.'https://m.io']\nca = ['x', 3]":                               "line 2",
		"[host.'https://m.io']\nclient = [['x']]":                            "line 2",
		"[host.'https://m.io']\n\nclient = 3":                                "line 3",
		"[host.'https://m.io']\nskip_verify = 'yes'":                         "line 2",
		"[host.'https://m.io']\noverride_path = 1":                           "line 2",
		"[host.'https://m.io']\ndial_timeout = 'soon'":                       "line 2",
		"[host.'https://m.io']\ndial_timeout = '-1s'":                        "line 2",
		"[host.'https://m.io']\nproxy = 'mail://user:secret@x'":              "line 2",
		"[host.'https://m.io']\n[host.'https://m.io'.header]\nx = 3":         "line 2",
		"[host.'https://m.io']\n[host.'https://m.io'.header]\nx = \"a\\nb\"": "line 2",
	} {
		_, _, err := parseHosts([]byte(text), "/dir")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzHostsFile(f *testing.F) {
	f.Add([]byte("server = 'https://x.io'\n[host.'http://m.io/p']\nca = ['a']\nclient = [['a','b']]\n[host.'http://m.io/p'.header]\na = 'b'"))
	f.Add([]byte("host = 3"))
	f.Add([]byte("[[host]]\n[host.a.b.c]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		endpoints, _, err := parseHosts(text, "/dir")
		if err == nil && len(endpoints) == 0 {
			t.Fatalf("%q: nobody is left", text)
		}
		for _, e := range endpoints {
			if e.host != "" && (e.scheme != "http" && e.scheme != "https" || strings.HasSuffix(e.root, "/")) {
				t.Fatalf("%q: %+v", text, e)
			}
			for _, path := range e.authorities {
				if !filepath.IsAbs(path) {
					t.Fatalf("%q: %s", text, path)
				}
			}
		}
	})
}

// The directory of a host is the first of those that containerd looks for.
func TestHostsDirectories(t *testing.T) {
	named := func(host string) string { return "[host.'https://" + host + "']" }
	first := hostsDir(t, map[string]string{
		"a.example.com/hosts.toml":       named("plain"),
		"a.example.com_5000_/hosts.toml": named("underscores"),
		"a.example.com:5000/hosts.toml":  named("hidden"),
		"b.example.com:5000/hosts.toml":  named("colon"),
		"c.example.com/ca.crt":           "x",
		"c.example.com/me.cert":          "x",
		"c.example.com/me.key":           "x",
		"c.example.com/you.cert":         "x",
		"c.example.com/more/other.crt":   "x",
		"d.example.com/hosts.toml":       " \n",
		"d.example.com/ca.crt":           "x",
		"docker.io/hosts.toml":           named("hub"),
	})
	second := hostsDir(t, map[string]string{
		"a.example.com/hosts.toml":            named("second"),
		"e.example.com/hosts.toml":            named("only-second"),
		"_default/hosts.toml":                 named("default"),
		"[2001:db8::1]_5000_/hosts.toml":      named("six"),
		"broken.example.com/hosts.toml":       "server = ",
		"unreadable.example.com/hosts.toml/x": "",
	})
	for host, want := range map[string]string{
		"a.example.com": "plain ", "a.example.com:5000": "underscores ", "b.example.com:5000": "colon ",
		"b.example.com": "default ", "e.example.com": "only-second ", "docker.io": "hub ", "[2001:db8::1]:5000": "six ",
		"c.example.com": "+1 authorities, 2 pairs", "d.example.com": "+1 authorities, 0 pairs",
	} {
		endpoints, _, err := configuredEndpoints([]string{first, second, "/does/not/exist"}, host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		got := ""
		for _, e := range endpoints {
			switch {
			case len(e.authorities) > 0:
				got += fmt.Sprintf("+%d authorities, %d pairs", len(e.authorities), len(e.pairs))
			case e.host != "":
				got += e.host + " "
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	for _, host := range []string{"broken.example.com", "unreadable.example.com"} {
		_, _, err := configuredEndpoints([]string{first, second}, host)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(second, host, "hosts.toml")) {
			t.Errorf("%s: %v, want the file", host, err)
		}
	}
	if endpoints, _, err := configuredEndpoints(nil, "a.example.com"); err != nil || len(endpoints) != 1 || endpoints[0].host != "" {
		t.Errorf("without directories: %+v, %v", endpoints, err)
	}
}

// "A hosts.toml that cannot be read is an error, and nobody is asked." Once it is
// right it is read again.
func TestHostsFileIsNotIgnored(t *testing.T) {
	s := startWithTag(t)
	file := s.Host() + "/hosts.toml"
	dir := hostsDir(t, map[string]string{file: "skip_verify = 'yes'"})
	c := clientOf(t, Options{HostsDirs: []string{dir}})
	if err := c.Configure(t.Context(), s.Host()); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, file)+": line 1") {
		t.Errorf("%v, want the file and its line", err)
	}
	if _, err := repositoryOf(t, c, s.Host()+"/a").Resolve(t.Context(), "x"); err == nil || s.Count() != 0 {
		t.Errorf("%v; asked for %s", err, asked(s))
	}
	for name, text := range map[string]string{"authority": "ca = 'missing.pem'", "certificate": "client = 'missing.pem'", "no PEM": "ca = 'hosts.toml'"} {
		dir := hostsDir(t, map[string]string{file: text})
		c := clientOf(t, Options{HostsDirs: []string{dir}})
		_, err := repositoryOf(t, c, s.Host()+"/a").Resolve(t.Context(), "x")
		if err == nil || isAbsence(err) || !strings.Contains(err.Error(), dir) || s.Count() != 0 {
			t.Errorf("%s: %v; asked for %s", name, err, asked(s))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); c.Configure(t.Context(), s.Host()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("a file that was put right is still wrong")
		}
	}
	if _, err := repositoryOf(t, c, s.Host()+"/a").Resolve(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

// What is configured of a host is read again when it was changed.
func TestHostsFileChanges(t *testing.T) {
	origin, mirror1, mirror2 := startWithTag(t), startWithTag(t), startWithTag(t)
	opts := mirroredBy(t, origin.Host(), mirror(mirror1.URL(), `header = {"X-Mine" = "1"}`, `dial_timeout = "5s"`))
	file := filepath.Join(opts.HostsDirs[0], origin.Host(), "hosts.toml")
	client := clientOf(t, opts)
	r := repositoryOf(t, client, origin.Host()+"/a")
	// ask asks as one does who comes later, and says who answered.
	ask := func(later bool) *registrytest.Server {
		t.Helper()
		for _, s := range []*registrytest.Server{origin, mirror1, mirror2} {
			s.Forget()
		}
		if later {
			r.host.mu.Lock()
			r.host.looked = time.Now().Add(-lookAgain)
			r.host.mu.Unlock()
		}
		if _, err := r.Manifest(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*registrytest.Server{origin, mirror1, mirror2} {
			if s.Count(registrytest.Manifest) > 0 {
				return s
			}
		}
		return nil
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if ask(false) != mirror1 || ask(true) != mirror1 {
		t.Error("the mirror was not asked")
	}
	lanes := r.known
	if ask(true); &lanes[0] != &r.known[0] {
		t.Error("what did not change was made anew")
	}
	write("# another\n" + mirror(mirror2.URL(), `dial_timeout = "7s"`))
	if ask(false) != mirror1 {
		t.Error("it is looked at with each request")
	}
	if ask(true) != mirror2 {
		t.Error("the new mirror was not asked")
	}
	if n := len(client.wire.own); n != 1 {
		t.Errorf("connections of %d endpoints are kept", n)
	}
	write("[host")
	r.host.looked = time.Time{}
	if _, err := r.Manifest(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file that is wrong: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.host.route.forget(nil) // its error is remembered for a moment
	if ask(true) != origin {
		t.Error("the registry itself was not asked")
	}
}
