package tree

import (
	"errors"
	iofs "io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// Names that the grammar does not have do not exist, and cost nothing.
func TestNamesThatAreNone(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	d := f.push("a", "1", 1)
	f.read("a/tags/1/manifest.json")
	f.server.Forget()
	host := f.server.Host()
	for _, path := range []string{
		"", ".", "..", ".git", ".Trash-1000", ".hidden", "autorun.inf", "desktop.ini", "docker", "Docker.io", "docker.io:0",
		"docker.io:65536", "docker_.io", "-a.io", "a..io", "exa mple.io", "docker.io:5000:5000", "[::1", "localhost:", "user@host.io",
		"docker.io/tags", "docker.io/digests", host + "/tags", host + "/digests",
		host + "/HEAD", host + "/.git", host + "/.Trash", host + "/Thumbs.db", host + "/A", host + "/a_", host + "/-a", host + "/a..b",
		host + "/a___b", host + "/a b", host + "/a%62", host + "/%74ags", host + "/t%61GS", host + "/digest%73", host + "/a:1", host + "/a@b",
		host + "/a\x00", host + "/é", host + "/" + strings.Repeat("a", 256),
		host + "/a/tags/.git", host + "/a/tags/-x", host + "/a/tags/..", host + "/a/tags/a b", host + "/a/tags/" + strings.Repeat("t", 129),
		host + "/a/tags/1@", host + "/a/tags/1@sha256:abc", host + "/a/tags/1@" + strings.ToUpper(d.String()), host + "/a/tags/@" + d.String(),
		host + "/a/tags/1@" + d.String() + "@" + d.String(), host + "/a/tags/1:2", host + "/a/tags/1%",
		host + "/a/digests/1", host + "/a/digests/sha256:", host + "/a/digests/" + d.Hex, host + "/a/digests/sha512:" + d.Hex + d.Hex,
		host + "/a/digests/sha256:" + strings.ToUpper(d.Hex), host + "/a/digests/" + d.String() + "0",
		host + "/a/tags/1/.git", host + "/a/tags/1/manifest", host + "/a/tags/1/tags", host + "/a/tags/1/Manifest.json",
		host + "/a/digests/" + d.String() + "/layer.tar",
	} {
		if _, err := walk(t.Context(), f.tree, path); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%q: error %v, want not exist", path, err)
		}
	}
	if n := f.server.Count(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Looking around asks nobody, whatever exists there.
func TestNoRequestToLookAround(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	for _, path := range []string{
		"", "a", "a/b/c/d", "a/tags", "a/digests", "a/b/tags", "no/such/repository/tags", "t%61gs", "t%61gs/tags", "a/d%69gests/x/tags",
	} {
		path = strings.TrimSuffix(f.path(path), "/")
		child, err := walk(t.Context(), f.tree, path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		attr, err := child.Node.Attr(t.Context())
		if err != nil || !attr.Mode.IsDir() || child.Lifetime != Forever {
			t.Errorf("%s: %+v for %v, %v", path, attr, child.Lifetime, err)
		}
	}
	for _, host := range []string{"localhost", "docker.io", "registry.example.com:5000", "[::1]:5000", "a.b"} {
		if _, err := walk(t.Context(), f.tree, host+"/x/y/tags"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := f.server.Count(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestLengthOfNames(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	host := f.server.Host()
	longest := strings.Repeat("a", registry.MaxName-len(host)-1)
	for path, exists := range map[string]bool{
		longest:                              true,
		longest + "a":                        false,
		longest[:len(longest)-2] + "/b":      true,
		longest[:len(longest)-1] + "/b":      false,
		longest[:len(longest)-4] + "/t%61gs": false, // its component has four letters
		longest[:len(longest)-5] + "/t%61gs": true,
	} {
		if _, err := f.lookup(path + "/tags"); (err == nil) != exists {
			t.Errorf("%d bytes: %v", len(host)+1+len(path), err)
		}
	}
}

// Repositories with a component that is called as a reserved name are reached,
// and listed, in one spelling.
func TestReservedNames(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	for path, repo := range map[string]string{
		"t%61gs": "tags", "d%69gests": "digests", "a/t%61gs/b": "a/tags/b", "t%61gs/t%61gs": "tags/tags", "a/d%69gests": "a/digests",
	} {
		d := f.push(repo, "tags", 1)
		if got := f.read(path + "/tags/tags/digest"); got != d.String()+"\n" {
			t.Errorf("%s: digest %q, want %s", path, got, d)
		}
		f.wantAsked("for "+path, "GET "+repo+":tags")
	}
	for path, want := range map[string][]string{
		"":              {"a", "d%69gests", "t%61gs"},
		"a":             {"d%69gests", "t%61gs"},
		"a/t%61gs":      {"b"},
		"t%61gs":        {"digests", "t%61gs", "tags"},
		"t%61gs/t%61gs": {"digests", "tags"},
		"a/d%69gests":   {"digests", "tags"},
	} {
		child, err := walk(t.Context(), f.tree, strings.TrimSuffix(f.path(path), "/"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names(child.Node.(Dir).List(t.Context())); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q lists %q, %v, want %q", path, got, err, want)
		}
	}
}

// docker.io/alpine is docker.io/library/alpine in all that it shows.
func TestDockerHub(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	// As if it had been used before: nothing here needs the network.
	known := f.store.Repository("docker.io/library/alpine")
	content := []byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"` + registrytest.DigestOf([]byte("{}")).String() + `"},"layers":[]}`)
	d := registrytest.DigestOf(content)
	if _, err := known.PutManifest(d, string(types.OCIManifestSchema1), content); err != nil {
		t.Fatal(err)
	}
	if err := known.PutTag("3.10", cache.Tag{Digest: d, Resolved: f.clock()}); err != nil {
		t.Fatal(err)
	}
	var files [2]Attr
	for i, path := range []string{"docker.io/alpine", "docker.io/library/alpine"} {
		child, err := walk(t.Context(), f.tree, path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names(child.Node.(Dir).List(t.Context())); !slices.Equal(got, []string{"digests", "tags"}) || err != nil {
			t.Errorf("%s lists %q, %v", path, got, err)
		}
		child, err = walk(t.Context(), f.tree, path+"/digests")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names(child.Node.(Dir).List(t.Context())); !slices.Equal(got, []string{d.String()}) || err != nil {
			t.Errorf("%s/digests lists %q, %v", path, got, err)
		}
		if child, err = walk(t.Context(), f.tree, path+"/tags/3.10/image.tar"); err != nil {
			t.Fatal(err)
		}
		if files[i], err = child.Node.Attr(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if files[0] != files[1] {
		t.Errorf("image.tar is %+v and %+v", files[0], files[1])
	}
	for path, want := range map[string][]string{"docker.io": {"library"}, "docker.io/library": {"alpine"}} {
		child, err := walk(t.Context(), f.tree, path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names(child.Node.(Dir).List(t.Context())); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s lists %q, %v, want %q", path, got, err, want)
		}
	}
	if got, err := names(f.tree.Root().List(t.Context())); !slices.Equal(got, []string{"docker.io"}) || err != nil {
		t.Errorf("the root lists %q, %v", got, err)
	}
	for _, name := range []string{"index.docker.io", "registry-1.docker.io"} {
		child, err := walk(t.Context(), f.tree, name)
		if err != nil {
			t.Fatal(err)
		}
		if target, err := child.Node.(Link).Target(t.Context()); target != "docker.io" || err != nil {
			t.Errorf("%s leads to %q, %v", name, target, err)
		}
	}
}

// FuzzLookup looks arbitrary paths up in a repository's directory. Only a name
// that the grammar has is asked for, and what is asked for is that name.
func FuzzLookup(f *testing.F) {
	for _, path := range []string{
		"a/tags/1/manifest.json", "a/tags/../1", "t%61gs/tags/x", "a/digests/sha256:" + strings.Repeat("0", 64), "A/tags/1", "a/tags/.git/config",
		"a/tags/1@sha256:" + strings.Repeat("0", 64) + "/image.tar", "a//tags/1", "a/tags/1/image.tar/x", "a/b/c/tags/\x00", "a/tags/?n=1", "a/tags/%2e",
	} {
		f.Add(path)
	}
	fix := newFixture(f, registrytest.Options{})
	f.Fuzz(func(t *testing.T, path string) {
		fix.server.Forget()
		fix.pass(time.Hour)
		if child, err := walk(t.Context(), fix.tree, fix.path(path)); err == nil {
			if _, err := child.Node.Attr(t.Context()); err != nil {
				t.Errorf("stat %q: %v", path, err)
			}
		}
		parts := strings.Split(path, "/")
		for _, r := range fix.server.Requests() {
			if r.Kind == registrytest.Ping {
				continue
			}
			// The registry of this test has nothing: the walk ends at the first
			// name that needs it.
			i := slices.IndexFunc(parts, func(s string) bool { return s == tagsName || s == digestsName })
			if r.Kind != registrytest.Manifest || r.Method != http.MethodGet || i < 1 || i+1 >= len(parts) {
				t.Fatalf("%q: %s %s", path, r.Method, r.Path)
			}
			repo := strings.Join(parts[:i], "/")
			repo = strings.NewReplacer(escapedTags, tagsName, escapedDigests, digestsName).Replace(repo)
			_, digest, byDigest := strings.Cut(parts[i+1], "@")
			if !byDigest {
				digest = parts[i+1]
			}
			if r.Repository != repo || r.Reference != digest {
				t.Fatalf("%q: %s %s", path, r.Method, r.Path)
			}
		}
	})
}
