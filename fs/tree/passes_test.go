package tree

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

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
