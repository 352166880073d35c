package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/rootfs"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// pushLayers pushes an image of layers, the lowest first.
func (f *fixture) pushLayers(repo, tag string, layers ...v1.Layer) v1.Hash {
	f.t.Helper()
	return f.server.Push(f.t, repo, tag, registrytest.ImageOf(f.t, layers...))
}

// filesLayer is a layer of members.
func filesLayer(t testing.TB, members ...registrytest.Member) registrytest.Layer {
	t.Helper()
	return registrytest.Gzipped(t, registrytest.Archive(t, members...))
}

// find is what is at a path, over links.
func (f *fixture) find(path string) Node {
	f.t.Helper()
	place, err := f.tree.Find(f.t.Context(), f.path(path))
	if err != nil {
		f.t.Fatal(err)
	}
	return place.Node
}

// contentOf reads a file.
func contentOf(t testing.TB, n Node) string {
	t.Helper()
	file, ok := n.(File)
	if !ok {
		t.Fatalf("a %T is no file", n)
	}
	open, err := file.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }() // it was read
	if !open.Verified() {
		t.Error("what is in an image was not verified")
	}
	return string(readAll(t, open))
}

// blobsAsked is how often each blob was asked for.
func (f *fixture) blobsAsked() map[string]int {
	blobs := map[string]int{}
	for _, r := range f.server.Requests() {
		if r.Kind == registrytest.Blob && r.Method == http.MethodGet {
			blobs[r.Reference]++
		}
	}
	return blobs
}

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

// TestRootfsGenerations: what is in two images has two generations, which say that it is not
// the same though the inode numbers were.
func TestRootfsGenerations(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	a := filesLayer(t, registrytest.Regular("a", "1"), registrytest.Regular("b", "2"))
	f.pushLayers("app", "1", a)
	f.pushLayers("other", "1", a)
	generation := func(path string) uint64 {
		attr, err := f.find(path).Attr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return attr.Recorded.Image
	}
	one, two := generation("app/tags/1/rootfs/a"), generation("other/tags/1/rootfs/a")
	if one == two || one == 0 || two == 0 {
		t.Errorf("two images have the generations %d and %d", one, two)
	}
	if b := generation("app/tags/1/rootfs/b"); b != one {
		t.Errorf("one image has the generations %d and %d", one, b)
	}
}

// "A layer that is malformed, or has other bytes than the image says, is EIO, for all that it decides, and that alone."
//
// The config says of plain bytes what they are, and is asked for where a layer is fetched.
func TestRootfsOfOtherBytes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	good := filesLayer(t, registrytest.Regular("good/a", "1"))
	other := filesLayer(t, registrytest.Regular("other/b", "2"))
	other.Plain = good.Plain
	f.pushLayers("app", "1", other, good)
	if got := contentOf(t, f.find("app/tags/1/rootfs/good/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
	for _, tree := range []*Tree{f.tree, f.newTree("linux/amd64")} {
		if _, err := tree.Find(t.Context(), f.path("app/tags/1/rootfs/other/b")); !errors.Is(err, rootfs.ErrMismatch) {
			t.Errorf("a file of a layer that is another than the config says: %v", err)
		}
	}
}

// TestRootfsLimits: neither layers without number nor what is in them takes all memory.
func TestRootfsLimits(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	small := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("most", "1", slices.Repeat([]v1.Layer{small}, maxLayers)...)
	if got := contentOf(t, f.find("most/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a of as many layers as may be is %q", got)
	}
	f.pushLayers("more", "1", slices.Repeat([]v1.Layer{small}, maxLayers+1)...)
	if _, err := f.tree.Find(t.Context(), f.path("more/tags/1/rootfs/a")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("with one more layer: %v", err)
	}

	f.tree.imageBytes = 10_000
	many := []registrytest.Member{registrytest.Regular("below", "2")}
	for n := range 1000 {
		many = append(many, registrytest.Regular("many/"+strconv.Itoa(n), ""))
	}
	f.pushLayers("large", "1", filesLayer(t, many...), small)
	if got := contentOf(t, f.find("large/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a of the layer above is %q", got)
	}
	if _, err := f.tree.Find(t.Context(), f.path("large/tags/1/rootfs/below")); !errors.Is(err, rootfs.ErrTooLarge) {
		t.Errorf("a file of a layer that takes too much: %v", err)
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

// layerNames are the names of an image's layers.
func (f *fixture) layerNames(image string) []string {
	f.t.Helper()
	all, err := f.list(image + "/layers")
	if err != nil {
		f.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, recordSuffix) })
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

// "What has a layer that is no archive of files, or that is found elsewhere than in a registry, has no `rootfs`, and neither have artifacts."
func TestRootfsAbsent(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.pushLayers("app", "wasm", static.NewLayer([]byte("x"), "application/vnd.wasm.content.layer.v1+wasm"))
	f.pushLayers("app", "foreign", static.NewLayer([]byte("x"), types.DockerForeignLayer))
	for _, tag := range []string{"wasm", "foreign"} {
		if _, err := f.lookup("app/tags/" + tag + "/rootfs"); !errors.Is(err, errNoFiles) {
			t.Errorf("%s: %v", tag, err)
		}
		if all, err := f.list("app/tags/" + tag); err != nil || slices.Contains(all, rootfsName) {
			t.Errorf("%s has %v, %v", tag, all, err)
		}
	}
	if !f.reported(errNoFiles) {
		t.Error("nobody was told why")
	}
}

// "A layer that is malformed, or has other bytes than the image says, is EIO, for all that it decides, and that alone."
func TestRootfsFails(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	bad := static.NewLayer([]byte("this is no archive"), types.OCILayer)
	f.pushLayers("app", "1", bad, filesLayer(t, registrytest.Regular("a", "1")))
	if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != "1" {
		t.Errorf("a is %q", got)
	}
	root := f.find("app/tags/1/rootfs").(Dir)
	if _, err := root.Lookup(t.Context(), "b"); !errors.Is(err, rootfs.ErrFormat) || errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what the layer decides is %v", err)
	}
	asked := f.blobsAsked()
	if _, err := names(root.List(t.Context())); !errors.Is(err, rootfs.ErrFormat) {
		t.Errorf("a listing that has it is %v", err)
	}
	if again := f.blobsAsked(); !maps.Equal(asked, again) {
		t.Errorf("it is asked for again at once: %v", again)
	}
}

// TestRootfsWrongPlain: the config says what the plain layers are.
func TestRootfsWrongPlain(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("app", "1", registrytest.Layer{Layer: layer, Plain: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}})
	f.read("app/tags/1/config.json")
	_, err := f.tree.Find(t.Context(), f.path("app/tags/1/rootfs/a"))
	if !errors.Is(err, rootfs.ErrMismatch) {
		t.Errorf("a layer with other bytes: %v", err)
	}
}

// "Killing who waits for a layer ends the wait, and not what is waited for."
func TestRootfsOutlivesReader(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.pushLayers("app", "1", filesLayer(t, registrytest.Regular("a", "1")))
	root := f.find("app/tags/1/rootfs").(Dir)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	hold := f.server.Hold(release)
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		select {
		case asked <- struct{}{}:
		default:
		}
		hold(w, r, req, next)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := root.Lookup(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
	if all := f.tree.Passes(); len(all) != 1 || all[0].Repository != f.path("app") || all[0].Size == 0 || all[0].Read != 0 {
		t.Errorf("what is being read is %+v", all)
	}
	close(release)
	if _, err := root.Lookup(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if all := f.tree.Passes(); len(all) != 0 {
		t.Errorf("afterwards it is %+v", all)
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

// "Types, permission bits, owners, times, devices and the number of links are those of the image; names of one file have one inode number."
func TestRootfsAttributes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	f.pushLayers("app", "1", filesLayer(t,
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755, Uid: 1, Gid: 2, ModTime: when}, Content: "12345"},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeLink, Name: "also", Linkname: "su", Mode: 0o4755, Uid: 1, Gid: 2, ModTime: when}},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Mode: 0o660, Devmajor: 8}},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}},
		registrytest.Member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "su", Mode: 0o777}}))
	attr := func(name string) Attr {
		t.Helper()
		place, err := f.tree.FindLink(t.Context(), f.path("app/tags/1/rootfs/"+name))
		if err != nil {
			t.Fatal(err)
		}
		a, err := place.Node.Attr(t.Context())
		if err != nil || a.Recorded == nil || a.Lifetime != Forever {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
		return a
	}
	su := attr("su")
	if su.Mode != iofs.ModeSetuid|0o755 || su.Size != 5 || !su.ModTime.Equal(when) || *su.Recorded != (Recorded{UID: 1, GID: 2, Links: 2, Image: su.Recorded.Image}) {
		t.Errorf("su is %+v, %+v", su, su.Recorded)
	}
	if also := attr("also"); also.Ino != su.Ino || also.Recorded.Links != 2 {
		t.Errorf("its other name is %+v", also)
	}
	for name, want := range map[string]iofs.FileMode{
		"null": iofs.ModeDevice | iofs.ModeCharDevice | 0o666, "sda": iofs.ModeDevice | 0o660, "pipe": iofs.ModeNamedPipe | 0o600,
		"tmp": iofs.ModeDir | iofs.ModeSticky | 0o777, "link": iofs.ModeSymlink | 0o777,
	} {
		if a := attr(name); a.Mode != want || a.Ino == su.Ino {
			t.Errorf("%s has the mode %v", name, a.Mode)
		}
	}
	if a := attr("null"); a.Recorded.Devmajor != 1 || a.Recorded.Devminor != 3 {
		t.Errorf("null is %+v", a.Recorded)
	}
	inodes := map[string]uint64{}
	for e, err := range f.find("app/tags/1/rootfs").(Dir).List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		inodes[e.Name] = e.Ino
		if want := attr(e.Name); e.Ino != want.Ino || e.Mode != want.Mode.Type() {
			t.Errorf("%s is listed as %v, %d", e.Name, e.Mode, e.Ino)
		}
	}
	if len(inodes) != 7 {
		t.Errorf("%d names are listed", len(inodes))
	}
}

// "What the image has of extended attributes is there as it is; user.oci.layer and user.oci.history say which layer a file is from, and what made that."
func TestRootfsExtendedAttributes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00"
	ping := registrytest.Regular("bin/ping", "1")
	ping.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.oci.layer": "what it had"}
	link := registrytest.Member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "bin/ping"}}
	layers := []v1.Layer{filesLayer(t, ping), filesLayer(t, registrytest.Regular("bin/also", "2"), link)}
	var addenda []mutate.Addendum
	for n, layer := range layers {
		addenda = append(addenda, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "step " + strconv.Itoa(n)}},
			mutate.Addendum{History: v1.History{CreatedBy: "nothing", EmptyLayer: true}})
	}
	image := registrytest.ImageWith(t, addenda...)
	f.server.Push(t, "app", "1", image)
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	f.server.DeleteBlob("app", registrytest.DigestOf(config)) // it comes later
	inner := func(name string) Attributed {
		t.Helper()
		place, err := f.tree.FindLink(t.Context(), f.path("app/tags/1/rootfs/"+name))
		if err != nil {
			t.Fatal(err)
		}
		return place.Node.(Attributed)
	}
	of := func(n int) string {
		d, err := layers[n].Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	all, err := inner("bin/ping").Attributes(t.Context())
	if want := []Attribute{{"security.capability", capability}, {LayerAttribute, of(0)}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("ping has %q, %v", all, err)
	}
	f.server.PutBlob("app", config)
	f.pass(time.Minute)
	f.server.Forget()
	for n, name := range []string{"bin/ping", "bin/also"} {
		value, ok, err := inner(name).Attribute(t.Context(), HistoryAttribute)
		if !ok || err != nil || !strings.Contains(value, `"step `+strconv.Itoa(n)+`"`) {
			t.Errorf("%s was made by %q, %v", name, value, err)
		}
	}
	if after := f.blobsAsked(); len(after) != 1 {
		t.Errorf("to ask for the history took %v", after)
	}
	if all, err = inner("bin/also").Attributes(t.Context()); err != nil || len(all) != 2 || all[0].Value != of(1) || !strings.Contains(all[1].Value, "step 1") {
		t.Errorf("also has %q, %v", all, err)
	}
	if value, ok, err := inner("bin/ping").Attribute(t.Context(), "user.none"); ok || err != nil {
		t.Errorf("one that it does not have is %q, %v", value, err)
	}
	for _, name := range []string{"link", ""} {
		if all, err := inner(name).Attributes(t.Context()); err != nil || len(all) > 0 {
			t.Errorf("%q has %q, %v", name, all, err)
		}
	}
}

// noise is so many bytes that nothing compresses.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it has no error
	return string(b)
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

// TestRootfsDamagedIndex: what was found out of a layer and is damaged on disk is found out anew.
func TestRootfsDamagedIndex(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", "1"))
	f.pushLayers("app", "1", layer)
	if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != "1" {
		t.Fatalf("a is %q", got)
	}
	found, err := filepath.Glob(filepath.Join(f.dir, "layers", "sha256", "*", "index"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the indexes are %v, %v", found, err)
	}
	for _, damaged := range [][]byte{nil, []byte("damaged")} {
		if err := errors.Join(os.Remove(found[0]), os.WriteFile(found[0], damaged, 0o600)); err != nil {
			t.Fatal(err)
		}
		place, err := f.newTree("linux/amd64").Find(t.Context(), f.path("app/tags/1/rootfs/a"))
		if err != nil || contentOf(t, place.Node) != "1" {
			t.Errorf("with %q for an index: %v", damaged, err)
		}
		if b, err := os.ReadFile(found[0]); err != nil || bytes.Equal(b, damaged) {
			t.Errorf("%q stays, %v", damaged, err)
		}
	}
	for blob, times := range f.blobsAsked() {
		if times != 1 {
			t.Errorf("%s was asked for %d times", blob, times)
		}
	}
}

// TestRootfsSharedPass: images of several repositories that are looked into at once have a layer
// read once, and one whose registry fails fails alone.
func TestRootfsSharedPass(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	layer := filesLayer(t, registrytest.Regular("a", noise(1<<20)))
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, repo := range []string{"one", "two", "bad"} {
		f.pushLayers(repo, "1", layer)
	}
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Repository == "bad" {
			registrytest.Refuse(http.StatusForbidden, "DENIED", "no")(w, r, req, next)
			return
		}
		next(w, r)
	}))
	dirs := map[string]Dir{}
	for _, repo := range []string{"one", "two", "bad"} {
		dirs[repo] = f.find(repo + "/tags/1/rootfs").(Dir)
	}
	if _, err := dirs["bad"].Lookup(t.Context(), "a"); err == nil || errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("what is denied is %v", err)
	}
	var all sync.WaitGroup
	for _, repo := range []string{"one", "two", "one", "two"} {
		all.Go(func() {
			if _, err := dirs[repo].Lookup(t.Context(), "a"); err != nil {
				t.Errorf("%s: %v", repo, err)
			}
		})
	}
	all.Wait()
	asked := map[string]bool{}
	for _, r := range f.server.Requests() {
		if r.Kind == registrytest.Blob && r.Reference == digest.String() { // not the config
			asked[r.Repository] = true
		}
	}
	if asked["one"] && asked["two"] {
		t.Errorf("both were asked: %v", asked)
	}
}

// TestRootfsManyLayers: more layers than are read at once, of a tree that is closed meanwhile
// and of one that is not.
func TestRootfsManyLayers(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	var layers []v1.Layer
	for n := range 3 * placesOfHost[smallPlace] {
		layers = append(layers, filesLayer(t, registrytest.Regular("a", strconv.Itoa(n)), registrytest.Regular("b"+strconv.Itoa(n), "")))
	}
	f.pushLayers("app", "1", layers...)
	closing := f.newTree("linux/amd64")
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	hold := f.server.Hold(release)
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		select {
		case asked <- struct{}{}:
		default:
		}
		hold(w, r, req, next)
	}))
	place, err := closing.Find(t.Context(), f.path("app/tags/1/rootfs"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		closing.Close()
	}()
	if _, err := place.Node.(Dir).Lookup(t.Context(), "a"); !errors.Is(err, errClosed) {
		t.Errorf("a look into what is closed is %v", err)
	}
	close(release)
	if got := contentOf(t, f.find("app/tags/1/rootfs/a")); got != strconv.Itoa(len(layers)-1) {
		t.Errorf("a is %s", got)
	}
	if got, err := names(f.find("app/tags/1/rootfs").(Dir).List(t.Context())); err != nil || len(got) != len(layers)+1 {
		t.Errorf("it has %d names, %v", len(got), err)
	}
}

func TestReadOrder(t *testing.T) {
	if got := readOrder([]v1.Descriptor{{Size: 1}, {Size: 9}, {Size: 1}, {Size: 5}}); !slices.Equal(got, []int{1, 3, 2, 0}) {
		t.Errorf("the order is %v", got)
	}
}
