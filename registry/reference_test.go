package registry

import (
	"strings"
	"testing"
)

var someDigest = "sha256:" + strings.Repeat("0123456789abcdef", 4)

func TestParseReference(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	for name, c := range map[string]struct{ in, want string }{
		"tag":                  {"docker.io/library/alpine:3.10", "docker.io/library/alpine:3.10"},
		"neither":              {"quay.io/a/b", "quay.io/a/b"},
		"digest":               {"quay.io/a/b@" + someDigest, "quay.io/a/b@" + someDigest},
		"tag and digest":       {"quay.io/a/b:v1@" + someDigest, "quay.io/a/b:v1@" + someDigest},
		"official image":       {"docker.io/alpine", "docker.io/library/alpine"},
		"alias of Docker Hub":  {"index.docker.io/alpine:1", "docker.io/library/alpine:1"},
		"its own name":         {"registry-1.docker.io/a/b", "docker.io/a/b"},
		"nested":               {"ghcr.io/a/b/c/d/e:x", "ghcr.io/a/b/c/d/e:x"},
		"port":                 {"localhost:5000/a:b", "localhost:5000/a:b"},
		"localhost":            {"localhost/a:b", "localhost/a:b"},
		"name with a port":     {"registry:5000/a", "registry:5000/a"},
		"IPv4":                 {"127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"},
		"IPv6":                 {"[::1]:5000/a:1", "[::1]:5000/a:1"},
		"IPv6 without a port":  {"[2001:db8::1]/a", "[2001:db8::1]/a"},
		"separators":           {"quay.io/a.b/c_d/e__f/g---h", "quay.io/a.b/c_d/e__f/g---h"},
		"reserved words":       {"quay.io/tags/digests:tags", "quay.io/tags/digests:tags"},
		"tag of 128":           {"quay.io/a:" + long[:128], "quay.io/a:" + long[:128]},
		"tag with capitals":    {"quay.io/a:_V1.0-RC", "quay.io/a:_V1.0-RC"},
		"longest name":         {"quay.io/" + long[len("quay.io/"):], "quay.io/" + long[len("quay.io/"):]},
		"no host":              {"alpine:3.10", ""},
		"no host, with a path": {"library/alpine", ""},
		"capital host":         {"Quay.io/a", ""},
		"scheme":               {"https://quay.io/a", ""},
		"nothing":              {"", ""},
		"host alone":           {"quay.io", ""},
		"host and slash":       {"quay.io/", ""},
		"empty component":      {"quay.io/a//b", ""},
		"leading slash":        {"/quay.io/a", ""},
		"trailing slash":       {"quay.io/a/", ""},
		"parent":               {"quay.io/../a", ""},
		"hidden":               {"quay.io/.git", ""},
		"capital component":    {"quay.io/HEAD", ""},
		"three underscores":    {"quay.io/a___b", ""},
		"ends in a separator":  {"quay.io/a-", ""},
		"empty tag":            {"quay.io/a:", ""},
		"two tags":             {"quay.io/a:b:c", ""},
		"tag of 129":           {"quay.io/a:" + long[:129], ""},
		"tag with a dash":      {"quay.io/a:-b", ""},
		"tag before a slash":   {"quay.io/a:b/c", ""},
		"empty digest":         {"quay.io/a@", ""},
		"short digest":         {"quay.io/a@sha256:abc", ""},
		"capital digest":       {"quay.io/a@" + strings.ToUpper(someDigest), ""},
		"other algorithm":      {"quay.io/a@sha512:" + strings.Repeat("0", 128), ""},
		"digest, then tag":     {"quay.io/a@" + someDigest + ":b", ""},
		"name too long":        {"quay.io/" + long, ""},
		"line end":             {"quay.io/a:b\n", ""},
		"NUL":                  {"quay.io/a\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := ParseReference(c.in)
			if c.want == "" {
				if err == nil {
					t.Fatalf("%q is taken for %s", c.in, ref)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if ref.String() != c.want {
				t.Errorf("%q is taken for %s", c.in, ref)
			}
		})
	}
}

func TestReferenceHint(t *testing.T) {
	for in, want := range map[string]string{
		"alpine:3.10":         "docker.io/library/alpine:3.10",
		"bitnami/redis":       "docker.io/bitnami/redis",
		"https://quay.io/a:1": "quay.io/a:1",
		"docker://quay.io/a":  "quay.io/a",
		"":                    "docker.io/library/alpine:3.10",
	} {
		if _, err := ParseReference(in); err == nil || !strings.HasSuffix(err.Error(), " "+want) {
			t.Errorf("%q: %v; want the hint %s", in, err, want)
		}
	}
}

func TestValidHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:1": true, "a.b": true, "a:65535": true, "xn--bcher-kva.example": true, "1.2.3.4": true,
		"[::1]": true, "[::1]:80": true, "[fe80::1]:5000": true,
		"": false, "a": false, "a:": false, "a:0": false, "a:65536": false, "a:08": false, "a:+8": false, "a:b": false, "a:1:2": false,
		".a": false, "a.": false, "a..b": false, "-a.b": false, "a-.b": false, "a_b.c": false, "A.b": false, "a.b/c": false,
		"::1": false, "[::1": false, "[::1]x": false, "[::1]:": false, "[1.2.3.4]": false, "[fe80::1%eth0]": false, "[FE80::1]": false,
		"autorun.inf": false, "desktop.ini": false, ".Trash-1000": false, ".git": false,
		strings.Repeat("a", 63) + ".b": true, strings.Repeat("a", 64) + ".b": false, strings.Repeat("a.", 127) + "b": false,
	} {
		if ValidHost(host) != want {
			t.Errorf("ValidHost(%q) is %t", host, !want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"docker.io/library/alpine:3.10", "docker.io/alpine", "index.docker.io/a@" + someDigest, "localhost:5000/a/b:c@" + someDigest,
		"[::1]:5000/a", "alpine", "", "a.b/c:d:e", "a.b/@", "A/b", "[::ffff:1.2.3.4]/x__y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %+v, and %q is %+v, %v", s, ref, ref.String(), again, err)
		}
		for _, c := range strings.Split(ref.Repository, "/") {
			if !ValidComponent(c) || c == "." || c == ".." {
				t.Fatalf("%q has the component %q", s, c)
			}
		}
		// What is asked of the network is what was named.
		c := NewClient(Options{Keychain: Anonymous()})
		r, err := c.Repository(ref.Name())
		if err != nil {
			t.Fatal(err)
		}
		if r.Name() != ref.Name() || r.path() != ref.Repository {
			t.Fatalf("%q is asked for as %s in %s", s, r.path(), r.Name())
		}
		if at := r.parsed.RegistryStr(); at != ref.Host && ref.Host != DockerHub {
			t.Fatalf("%q is asked for at %s", s, at)
		}
	})
}
