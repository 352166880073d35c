package tree

import (
	"archive/tar"
	"errors"
	"io"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// "`rootfs` is a link to what is in the image: its layers, laid over each other."
// "To look the link up, or where it leads, reads no layer."
// "A layer is read once, whoever looks into it, and for whichever image, and what was found is kept."
func TestRootfs(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	base := filesLayer(t, registrytest.Regular("etc/os-release", "base"), registrytest.Regular("etc/gone", "x"), registrytest.Regular("usr/lib/a", strings.Repeat("0123456789", 30_000)))
	digest := f.pushLayers("app", "1", base, filesLayer(t, registrytest.Regular("etc/.wh.gone", ""), registrytest.Regular("etc/os-release", "above")))
	f.pushLayers("other", "1", base)

	link, ok := f.mustLookup("app/tags/1/rootfs").Node.(Link)
	if !ok {
		t.Fatal("rootfs is no link")
	}
	if target, err := link.Target(t.Context()); err != nil || target != "../../digests/"+digest.String()+"/.rootfs" {
		t.Errorf("rootfs leads to %s, %v", target, err)
	}
	root := f.mustLookup("app/digests/" + digest.String() + "/.rootfs")
	if root.Lifetime != Forever {
		t.Errorf("the directory is good for %v", root.Lifetime)
	}
	if _, err := root.Node.Attr(t.Context()); err != nil {
		t.Error(err)
	}
	if blobs := f.blobsAsked(); len(blobs) > 0 {
		t.Fatalf("to look it up took %v", blobs)
	}

	if got := contentOf(t, f.find("app/tags/1/rootfs/etc/os-release")); got != "above" {
		t.Errorf("os-release is %q", got)
	}
	if got := contentOf(t, f.find("other/tags/1/rootfs/etc/os-release")); got != "base" {
		t.Errorf("os-release of the other is %q", got)
	}
	for path, want := range map[string][]string{"": {"etc", "usr"}, "/etc": {"os-release"}, "/usr/lib": {"a"}} {
		if got, err := names(f.find("app/tags/1/rootfs" + path).(Dir).List(t.Context())); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has %v, %v", path, got, err)
		}
	}
	if _, err := f.find("app/tags/1/rootfs/etc").(Dir).Lookup(t.Context(), "gone"); !errors.Is(err, ErrNever) || !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what was removed is %v", err)
	}
	if got := contentOf(t, f.find("app/tags/1/rootfs/usr/lib/a")); got != strings.Repeat("0123456789", 30_000) {
		t.Errorf("a has %d bytes", len(got))
	}
	blobs := f.blobsAsked()
	if len(blobs) != 4 {
		t.Errorf("%d blobs were asked for, want the layers and two configs: %v", len(blobs), blobs)
	}
	for blob, times := range blobs {
		if times != 1 {
			t.Errorf("%s was asked for %d times", blob, times)
		}
	}

	f.server.Forget()
	again := f.newTree("linux/amd64")
	place, err := again.Find(t.Context(), f.path("app/tags/1/rootfs/usr/lib/a"))
	if err != nil || contentOf(t, place.Node) != strings.Repeat("0123456789", 30_000) {
		t.Errorf("another process: %v", err)
	}
	if blobs := f.blobsAsked(); len(blobs) > 0 {
		t.Errorf("another process asks for %v", blobs)
	}
}

// "A layer whose blob is in the cache is read from there."
func TestRootfsOfCachedBlob(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", "content"))
	f.pushLayers("app", "1", layer)
	f.read("app/tags/1/" + "layers/" + f.layerNames("app/tags/1")[0])
	f.server.Forget()
	if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != "content" {
		t.Errorf("a is %q", got)
	}
	if blobs := f.blobsAsked(); len(blobs) > 0 {
		t.Errorf("it asks for %v", blobs)
	}
}

// "The whole of a layer that was looked into is in the cache."
func TestRootfsKeepsBlob(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.pushLayers("app", "1", filesLayer(t, registrytest.Regular("a", strings.Repeat("content", 10_000))))
	f.find("app/tags/1/rootfs/a")
	f.server.Forget()
	open := f.open("app/tags/1/layers/" + f.layerNames("app/tags/1")[0])
	if !open.Verified() {
		t.Error("the blob is not whole")
	}
	readAll(t, open)
	if blobs := f.blobsAsked(); len(blobs) > 0 {
		t.Errorf("it is asked for again: %v", blobs)
	}
}

// "Where nothing of a layer can be kept, its bytes are made again, a part of it at a time."
func TestRootfsWithoutDisk(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layers := filepath.Join(f.dir, "layers")
	if err := errors.Join(os.RemoveAll(layers), os.WriteFile(layers, nil, 0o600)); err != nil { // a file in its place
		t.Fatal(err)
	}
	content := strings.Repeat("0123456789", 30_000)
	f.pushLayers("app", "1", filesLayer(t, registrytest.Regular("a", content), registrytest.Regular("b", "2")))
	for range 2 {
		if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != content {
			t.Errorf("a has %d bytes", len(got))
		}
	}
	for blob, times := range f.blobsAsked() {
		if times != 1 {
			t.Errorf("%s was asked for %d times", blob, times)
		}
	}
}

// "A link within an image leads to where it would with the image's root directory as `/`, for the commands that need no mount."
func TestRootfsFind(t *testing.T) {
	link := func(name, to string) registrytest.Member {
		return registrytest.Member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}}
	}
	f := newFixture(t, registrytest.Options{})
	digest := f.pushLayers("app", "1", filesLayer(t,
		registrytest.Regular("usr/lib/os-release", "x"), link("etc/os-release", "../usr/lib/os-release"), link("absolute", "/usr/lib/os-release"),
		link("out", "../../../../../usr/lib/os-release"), link("lib", "usr/lib"), link("up", "/..")))
	for _, name := range []string{"etc/os-release", "absolute", "out", "lib/os-release", "lib/../lib/os-release", "up/usr/lib/os-release"} {
		if got := contentOf(t, f.find("app/tags/1/rootfs/"+name)); got != "x" {
			t.Errorf("%s is %q", name, got)
		}
	}
	// What the path itself says leads out, as it does on a mount.
	if got := contentOf(t, f.find("app/tags/1/rootfs/../digest")); got != digest.String()+"\n" {
		t.Errorf("beside the root is %q", got)
	}
	for _, name := range []string{"out", "absolute"} {
		place, err := f.tree.FindLink(t.Context(), f.path("app/tags/1/rootfs/"+name))
		if l, ok := place.Node.(Link); err != nil || !ok {
			t.Errorf("%s is %T, %v", name, place.Node, err)
		} else if target, _ := l.Target(t.Context()); !strings.HasSuffix(target, "/usr/lib/os-release") {
			t.Errorf("%s leads to %s", name, target)
		}
	}
}

// "A layer that brings a table of contents, as eStargz and zstd:chunked do, is not read, but for what is read of its files."
func TestRootfsOfStargz(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	noise := noise(8 << 20)
	layer, annotations := registrytest.Stargz(t, registrytest.Archive(t, registrytest.Regular("etc/os-release", "ID=lazy"), registrytest.Regular("large", noise)))
	f.server.Push(t, "app", "1", registrytest.ImageWith(t, mutate.Addendum{Layer: layer, Annotations: annotations}))
	for when, tree := range map[string]*Tree{"at first": f.tree, "another process": f.newTree("linux/amd64")} {
		root, err := tree.Find(t.Context(), f.path("app/tags/1/rootfs"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names(root.Node.(Dir).List(t.Context())); err != nil || !slices.Equal(got, []string{"etc", "large"}) {
			t.Errorf("%s: it has %v, %v", when, got, err)
		}
		place, err := tree.Find(t.Context(), f.path("app/tags/1/rootfs/etc/os-release"))
		if err != nil || contentOf(t, place.Node) != "ID=lazy" {
			t.Errorf("%s: %v", when, err)
		}
	}
	if sent := f.server.Sent(); sent > 1<<20 {
		t.Errorf("%d bytes came", sent)
	}
	if got := contentOf(t, f.find("app/tags/1/rootfs/large")); got != noise {
		t.Errorf("the large file has %d bytes", len(got))
	}
	// What says that it has one, and has not, is read.
	plain := filesLayer(t, registrytest.Regular("a", "1"))
	f.server.Push(t, "app", "2", registrytest.ImageWith(t, mutate.Addendum{Layer: plain, Annotations: annotations}))
	if got := contentOf(t, f.find("app/tags/2/rootfs/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
}

// TestRootfsOfCrawler: "No request is made for a program that indexes file systems."
func TestRootfsOfCrawler(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	tree := f.newTreeWith("linux/amd64", func(o *Options) { o.Pace = 10 })
	layer, annotations := registrytest.Stargz(t, registrytest.Archive(t, registrytest.Regular("a", noise(1<<20))))
	f.server.Push(t, "lazy", "1", registrytest.ImageWith(t, mutate.Addendum{Layer: layer, Annotations: annotations}))
	f.pushLayers("app", "1", filesLayer(t, registrytest.Regular("a", "1")))
	crawler := WithCaller(t.Context(), func() Caller { return Caller{Process: 1, Name: "updatedb"} })
	for _, repo := range []string{"lazy", "app"} {
		root, err := tree.Find(t.Context(), f.path(repo+"/tags/1/rootfs"))
		if err != nil {
			t.Fatal(err)
		}
		before := len(f.server.Requests())
		if _, err := root.Node.(Dir).Lookup(crawler, "a"); !errors.Is(err, ErrCrawler) {
			t.Errorf("%s: to look in there is %v", repo, err)
		}
		if n := len(f.server.Requests()); n != before {
			t.Errorf("%s: it made %d requests", repo, n-before)
		}
		child, err := root.Node.(Dir).Lookup(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		open, err := child.Node.(File).Open(crawler)
		if err != nil {
			t.Fatal(err)
		}
		_, err = open.ReadAt(crawler, make([]byte, 1), 0)
		if lazy := repo == "lazy"; errors.Is(err, ErrCrawler) != lazy || !lazy && err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: to read a file is %v", repo, err)
		}
		var b [1]byte
		if kept := open.(KeptFile).ReadKept(b[:]); kept != (repo == "app") || kept && b[0] != '1' {
			t.Errorf("%s: that it has the file's bytes is %v, %q", repo, kept, b)
		}
		if err := open.Close(); err != nil {
			t.Error(err)
		}
	}
}

// "Who reads a file of an image in order has what comes next made ahead, as in any other file."
func TestRootfsReadAhead(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	content := noise(8 << 20)
	layer, annotations := registrytest.Stargz(t, registrytest.Archive(t, registrytest.Regular("large", content)))
	f.server.Push(t, "app", "1", registrytest.ImageWith(t, mutate.Addendum{Layer: layer, Annotations: annotations}))
	file, ok := f.find("app/tags/1/rootfs/large").(File)
	if !ok {
		t.Fatal("it is no file")
	}
	open, err := file.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The first answers come at once, and all others when there are two that wait: of one
	// who waits himself there is one.
	var mu sync.Mutex
	waiting, most := 0, 0
	both := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		mu.Lock()
		if waiting++; waiting == 2 && most < 2 {
			close(both)
		}
		most = max(most, waiting)
		mu.Unlock()
		if req.Range != "" && f.server.Sent() > 1<<20 {
			select {
			case <-both:
			case <-r.Context().Done():
			}
		}
		next(w, r)
		mu.Lock()
		waiting--
		mu.Unlock()
	}))
	b := make([]byte, 128<<10)
	for off := 0; off < len(content); off += len(b) {
		if n, err := open.ReadAt(t.Context(), b, int64(off)); n < len(b) || string(b) != content[off:off+len(b)] {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
	}
	if most < 2 {
		t.Error("nothing came ahead")
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
}
