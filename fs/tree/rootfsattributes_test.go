package tree

import (
	"archive/tar"
	iofs "io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

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
