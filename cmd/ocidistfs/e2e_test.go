package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestTour walks where a newcomer walks, against the distribution registry with
// each way to authenticate: list, read, copy, pull. "The SHA-256 of manifest.json
// is the digest." "Copies of image.tar are the same bytes, whichever cache or
// command made them."
func TestTour(t *testing.T) {
	for name, auth := range map[string]distributiontest.Auth{
		"open": distributiontest.Open, "htpasswd": distributiontest.Basic, "token": distributiontest.Bearer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := distributiontest.Start(t, auth)
			amd64 := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000, 3 << 20}})
			arm64 := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000, 200_000}, Architecture: "arm64", Variant: "v8"})
			s.PushIndex(t, "some/nested/repository", "1.0", registrytest.Index(t, amd64, arm64))
			login := dockerConfig(t, s.Host)
			cache := t.TempDir()
			dir := background(t, cache, "--platform linux/amd64", login)
			repository := filepath.Join(dir, s.Host, "some/nested/repository")

			if got := bash(t, "ls "+repository+"/tags"); got != "1.0\n" {
				t.Errorf("tags: %q", got)
			}
			image := repository + "/tags/1.0"
			digest := strings.TrimSpace(bash(t, "cat "+image+"/digest"))
			if got := strings.Fields(bash(t, "sha256sum < "+image+"/manifest.json"))[0]; "sha256:"+got != digest {
				t.Errorf("sha256sum manifest.json is %s, digest %s", got, digest)
			}
			resolved, err := amd64.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if got := bash(t, "cat "+image+"/resolved-digest"); got != resolved.String()+"\n" {
				t.Errorf("resolved-digest %q, want %s", got, resolved)
			}
			if got := strings.Fields(bash(t, "sha256sum < "+image+"/resolved-manifest.json"))[0]; got != resolved.Hex {
				t.Errorf("sha256sum resolved-manifest.json is %s, want %s", got, resolved.Hex)
			}

			// Copies from two fresh caches, and what pull makes with a cache and
			// without, are the same bytes.
			work := t.TempDir()
			other := background(t, t.TempDir(), "--platform linux/amd64", login)
			reference := s.Host + "/some/nested/repository:1.0"
			bash(t, "cd "+work+`
				cp `+image+`/image.tar 1.tar
				cp `+other+strings.TrimPrefix(image, dir)+`/image.tar 2.tar
				ocidistfs pull --platform linux/amd64 --cache-dir `+t.TempDir()+` --path 3.tar `+reference+`
				ocidistfs pull --platform linux/amd64 --no-cache --path 4.tar `+reference+`
				ocidistfs pull --platform linux/amd64 --cache-dir `+cache+` --path - `+reference+` > 5.tar
				test -s 1.tar
				for i in 2 3 4 5; do cmp 1.tar $i.tar; done`, login)
			checkTar(t, filepath.Join(work, "1.tar"), reference, amd64)

			if got := bash(t, "ocidistfs tags "+s.Host+"/some/nested/repository", login); got != "1.0\n" {
				t.Errorf("ocidistfs tags: %q", got)
			}
			bash(t, "ocidistfs manifest --raw "+reference+" | cmp - "+image+"/manifest.json", login)
			bash(t, "ocidistfs unmount "+dir)
		})
	}
}

// checkTar holds a copied image.tar to what GNU tar finds in it.
func checkTar(t *testing.T, path, reference string, image v1.Image) {
	t.Helper()
	m, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	members := lines(bash(t, "tar tf "+path))
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		name := "blobs/sha256/" + d.Digest.Hex
		if n := len(slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m != name })); n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
		if got := strings.Fields(bash(t, "tar xOf "+path+" "+name+" | sha256sum"))[0]; got != d.Digest.Hex {
			t.Errorf("%s has the digest %s", name, got)
		}
	}
	if got := bash(t, "tar xOf "+path+" manifest.json"); !strings.Contains(got, `"RepoTags":["`+reference+`"]`) {
		t.Errorf("manifest.json is %s", got)
	}
}

// TestKinds has the images that registries have: each as a directory. "A tag with
// a digest is the image of the digest, named by the tag." "A component called
// tags or digests is spelled t%61gs or d%69gests."
func TestKinds(t *testing.T) {
	s := distributiontest.Start(t, distributiontest.Open)
	oci := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{5000}})
	docker := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{5000, 70_000, 5000}, Docker: true})
	arm := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Architecture: "s390x"})
	s.Push(t, "oci", "latest", oci)
	s.Push(t, "docker", "latest", docker)
	s.Push(t, "tags", "v1", oci)
	s.Push(t, "a/tags/digests", "v1", oci)
	s.PushIndex(t, "foreign", "latest", registrytest.Index(t, arm))
	s.Push(t, "artifact", "latest", artifact(t))
	dir := background(t, t.TempDir(), "--platform linux/amd64")
	host := filepath.Join(dir, s.Host)
	const whole = "config.json\ndigest\ndocker-save.tar\nimage.tar\nlayers\nmanifest.json\noci\nreferrers\nresolved-digest\nresolved-manifest.json\nrootfs\n"

	digest := func(image v1.Image) string {
		d, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	for path, want := range map[string]string{
		"oci/tags/latest":               whole,
		"oci/digests/" + digest(oci):    whole,
		"oci/tags/other@" + digest(oci): whole,
		"docker/tags/latest":            whole,
		"t%61gs/tags/v1":                whole,
		"a/t%61gs/d%69gests/tags/v1":    whole,
		"foreign/tags/latest":           "digest\nmanifest.json\nplatform.json\nplatforms\nreferrers\n",
		"artifact/tags/latest":          "config.json\ndigest\nlayers\nmanifest.json\noci\nreferrers\nresolved-digest\nresolved-manifest.json\n",
	} {
		if got := bash(t, "ls "+filepath.Join(host, path)); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	work := t.TempDir()
	bash(t, "cp "+host+"/docker/tags/latest/image.tar "+work+"/docker.tar")
	checkTar(t, work+"/docker.tar", s.Host+"/docker:latest", docker)
	for path, want := range map[string]string{
		"oci/digests/" + digest(oci):    `"RepoTags":[]`,
		"oci/tags/other@" + digest(oci): `"RepoTags":["` + s.Host + `/oci:other"]`,
	} {
		if got := bash(t, "tar xOf "+filepath.Join(host, path)+"/image.tar manifest.json"); !strings.Contains(got, want) {
			t.Errorf("%s: manifest.json is %s, want %s in it", path, got, want)
		}
	}
	// "A file that is absent for a reason has it in .ocidistfs/errors."
	if got := bash(t, "cat "+dir+"/.ocidistfs/errors"); !strings.Contains(got, "linux/s390x") {
		t.Errorf("errors: %q, want the platforms that there are", got)
	}
	// What was used is listed afterwards, spelled as it is reached.
	for path, want := range map[string]string{
		"": "a\nartifact\ndocker\nforeign\noci\nt%61gs\n", "a": "t%61gs\n", "a/t%61gs": "d%69gests\n", "oci": "digests\ntags\n",
	} {
		if got := bash(t, "ls "+filepath.Join(host, path)); got != want {
			t.Errorf("%q lists %q, want %q", path, got, want)
		}
	}
}

// TestNoRequest: "Looking around asks nobody."
func TestNoRequest(t *testing.T) {
	s := distributiontest.Start(t, distributiontest.Open)
	dir := background(t, t.TempDir(), "--registry "+s.Host)
	mark := s.Mark(t)
	for _, path := range []string{
		"", ".git", "HEAD", ".Trash-1000", "autorun.inf", ".hidden", "alpine", "docker.io", "docker.io/library/alpine",
		s.Host, s.Host + "/a/b/c", s.Host + "/.git", s.Host + "/HEAD", s.Host + "/a/.git/config", s.Host + "/a/tags/.git",
		s.Host + "/a/tags/-x", s.Host + "/a/digests", s.Host + "/a/digests/sha256:12",
		s.Host + "/A/tags/1", s.Host + "/a/tags/1@sha256:12",
	} {
		bash(t, "ls -d '"+dir+"/"+path+"' || true")
	}
	bash(t, "ls "+dir)
	requests := s.Since(t, mark)
	if len(requests) != 0 {
		t.Errorf("%d requests: %v", len(requests), requests)
	}
	if got := bash(t, "ls "+dir); got != s.Host+"\n" {
		t.Errorf("the root lists %q, want the host of --registry", got)
	}
	// To list is another matter, and one list for all of a host.
	bash(t, "ls "+dir+"/"+s.Host+" && ls "+dir+"/"+s.Host+"/a")
	if requests := s.Since(t, mark); len(requests) != 2 { // with the ping
		t.Errorf("requests of listings: %v", requests)
	}
}

// TestKill ends the serving process in the middle of a copy, as a crash would.
// "After a kill the download goes on where it was."
func TestKill(t *testing.T) {
	t.Parallel()
	s := distributiontest.Start(t, distributiontest.Open)
	const layer = 24 << 20
	s.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{layer, layer - 1}}))
	cache := t.TempDir()
	dir := background(t, cache, "")
	tar := filepath.Join(dir, s.Host, "a/tags/1/image.tar")
	size := bash(t, "stat -c %s "+tar)
	bash(t, "stat "+dir) // what the kernel remembers of it outlives the process
	work := t.TempDir()
	// head(1) has its first bytes, and then the process is gone under it.
	const had = 30 << 20
	bash(t, fmt.Sprintf("{ head -c %d > %s/head; kill -9 %d; fails cat > /dev/null; } < %s", had, work, serverOf(t, dir), tar))
	if out := bash(t, "fails ls "+dir+" 2>&1"); !strings.Contains(out, "not connected") {
		t.Fatalf("after the kill: %q", out)
	}
	mark := s.Mark(t)
	bash(t, "ocidistfs mount --cache-dir "+cache+" "+dir) // clears the stale mount
	bash(t, "cp "+tar+" "+work+"/copy; cmp -n "+fmt.Sprint(had)+" "+work+"/head "+work+"/copy")
	if got := bash(t, "stat -c %s "+work+"/copy"); got != size {
		t.Errorf("the copy has %s bytes, want %s", got, size)
	}
	var sent int64
	for _, r := range s.Since(t, mark) {
		if r.IsBlob() {
			sent += r.Sent
		}
	}
	if missing := int64(2*layer - had + 1<<20); sent > missing {
		t.Errorf("%d bytes were fetched again, want at most the %d that were missing", sent, missing)
	}
	bash(t, "cd "+work+" && ocidistfs pull --no-cache --path pulled "+s.Host+"/a:1 && cmp pulled copy")
}

// TestHostileRegistry: "A registry that serves other bytes under a digest changes
// nothing for another one."
func TestHostileRegistry(t *testing.T) {
	honest, hostile := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20}})
	for _, s := range []*registrytest.Server{honest, hostile} {
		s.Push(t, "a", "1", image)
	}
	hostile.Break(registrytest.Only(registrytest.Blob, registrytest.FlipAt(5000)))
	cache, work := t.TempDir(), t.TempDir()
	dir := background(t, cache, "")
	bad, good := filepath.Join(dir, hostile.Host(), "a/tags/1/image.tar"), filepath.Join(dir, honest.Host(), "a/tags/1/image.tar")
	// A part of it, which nothing can be said against yet; then all.
	bash(t, "head -c 100000 "+bad+" > /dev/null; fails cp "+bad+" "+work+"/bad")
	bash(t, "fails ocidistfs pull --cache-dir "+cache+" --path "+work+"/pulled "+hostile.Host()+"/a:1; test ! -e "+work+"/pulled")
	bash(t, "cp "+good+" "+work+"/good; ocidistfs pull --no-cache --path "+work+"/pulled "+honest.Host()+"/a:1; cmp "+work+"/pulled "+work+"/good")
	checkTar(t, work+"/good", honest.Host()+"/a:1", image)
	if entries, err := os.ReadDir(filepath.Join(cache, "blobs", "sha256")); err != nil || len(entries) != 2 {
		t.Errorf("%d whole blobs, %v; want the config and the layer", len(entries), err)
	}
}
