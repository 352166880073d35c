package tree

import (
	"context"
	"errors"
	iofs "io/fs"
	"iter"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func TestFind(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	digest := f.push("a/b", "1", 1).String()
	host := f.server.Host()
	image := host + "/a/b/tags/1"
	for _, c := range []struct {
		path, at string // "" is an error
		said     string // in the error
	}{
		{path: "", at: "."},
		{path: "/", at: "."},
		{path: "..", at: "."},
		{path: "../..//./", at: "."},
		{path: host, at: host},
		{path: "/" + host + "/", at: host},
		{path: host + "/..", at: "."},
		{path: host + "/../../" + host, at: host},
		{path: host + "/a/./x/../b/tags/1", at: image},
		{path: image + "/digest", at: image + "/digest"},
		{path: image + "/../../digests/" + digest + "/digest", at: host + "/a/b/digests/" + digest + "/digest"},
		// A link in the middle, at the end, and before "..".
		{path: "index.docker.io/library/x", at: "docker.io/library/x"},
		{path: "index.docker.io", at: "docker.io"},
		{path: "index.docker.io/", at: "docker.io"},
		{path: "index.docker.io/../" + host, at: host},

		{path: "nohost", said: `nohost: "nohost" is no registry's host`},
		{path: "nohost/a/tags", said: `nohost/a/tags: "nohost" is no registry's host`},
		{path: image + "/nosuch", said: `/nosuch: there is no "nosuch" in ` + image},
		{path: host + "/a/b/tags/2/digest", said: `/digest: ` + host + `/a/b/tags/2: get manifest`},
		{path: host + "/a/b/tags/2", said: `/tags/2: get manifest`},
		{path: image + "/digest/", said: "not a directory"},
		{path: image + "/digest/x", said: image + "/digest/x: " + image + "/digest: not a directory"},
		{path: image + "/digest/..", said: "not a directory"},
	} {
		place, err := f.tree.Find(t.Context(), c.path)
		at := place.Path
		if at == "" {
			at = "."
		}
		switch {
		case c.said == "" && (err != nil || at != c.at):
			t.Errorf("%s is %q, %v, want %s", c.path, place.Path, err, c.at)
		case c.said != "" && (err == nil || !strings.Contains(err.Error(), c.said)):
			t.Errorf("%s is %q, %v, want an error with %s", c.path, place.Path, err, c.said)
		}
	}
	// A failure says where, and is what it was.
	_, err := f.tree.Find(t.Context(), host+"/a/b/tags/2/digest")
	var failed *FindError
	if !errors.As(err, &failed) || failed.Dir != host+"/a/b/tags" || failed.Name != "2" || !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("%+v", failed)
	}

	for path, isLink := range map[string]bool{"index.docker.io": true, "index.docker.io/": false, "index.docker.io/library": false, host: false} {
		place, err := f.tree.FindLink(t.Context(), path)
		if _, ok := place.Node.(Link); err != nil || ok != isLink {
			t.Errorf("%s itself is %T, %v", path, place.Node, err)
		}
	}
}

// loop is a directory in which every name is a link to itself.
type loop struct{ Dir }

func (loop) Lookup(_ context.Context, name string) (Child, error) {
	return Child{Node: loopLink{name: name}}, nil
}

func (loop) List(context.Context) iter.Seq2[Entry, error] { return nil }

type loopLink struct {
	Node
	name string
}

func (l loopLink) Target(context.Context) (string, error) { return l.name + "/" + l.name, nil }

func TestFindLoop(t *testing.T) {
	_, err := find(t.Context(), loop{}, "a/b", true)
	if !errors.Is(err, ErrLoop) {
		t.Errorf("%v, want %v", err, ErrLoop)
	}
}

// Looking around asks nobody, and a file no more than it needs.
func TestFindAsks(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a/b", "1", 1)
	for _, path := range []string{"a/b/tags", "a/b/digests", "no/such"} {
		if _, err := f.tree.Find(t.Context(), f.path(path)); err != nil {
			t.Error(err)
		}
	}
	f.wantAsked("looking around")
	for range 2 {
		if _, err := f.tree.Find(t.Context(), f.path("a/b/tags/1/image.tar")); err != nil {
			t.Error(err)
		}
	}
	f.wantAsked("for a file", "GET a/b:1")
}

func TestReadBlob(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	ref, err := registry.ParseReference(f.path("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := f.tree.Image(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := i.Archive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := archive.Blobs()[0]
	b, err := i.ReadBlob(t.Context(), config, config.Size)
	if err != nil || int64(len(b)) != config.Size || !strings.Contains(string(b), `"architecture"`) {
		t.Errorf("%q, %v", b, err)
	}
	f.server.Forget()
	if _, err := i.ReadBlob(t.Context(), config, config.Size); err != nil {
		t.Error(err)
	}
	if _, err := i.ReadBlob(t.Context(), config, config.Size-1); !errors.Is(err, ErrTooLong) {
		t.Errorf("%v, want %v", err, ErrTooLong)
	}
	if n := f.server.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for what is known, or too long", n)
	}

	// One that is not what its digest says.
	f.push("b", "1", 2)
	f.server.Break(registrytest.Only(registrytest.Blob, registrytest.FlipAt(3)))
	ref.Repository = "b"
	if i, err = f.tree.Image(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if archive, err = i.Archive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := i.ReadBlob(t.Context(), archive.Blobs()[0], 1<<20); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("%q, %v, want %v", b, err, cache.ErrMismatch)
	}
}
