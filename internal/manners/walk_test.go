package manners

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// walk mounts a site as somebody who may, looks at everything, and counts what
// the registry was asked for.
func walk(t *testing.T, b *bench, s *site) {
	u := newUser(t, b)
	u.logIn(t, s.login, s.host, distributiontest.Username, distributiontest.Password)
	want := u.pull(t, s.host+"/"+imageRepository+":"+imageTag)
	u.mount(t, s.host)
	image := s.host + "/" + imageRepository

	begin := s.registry.Mark(t)
	checkCatalog(t, s, u)
	if n := len(s.registry.Since(t, begin)); n > 4 { // a ping, what refuses one without a token, and the list
		t.Errorf("a catalog of two repositories took %d requests", n)
	}
	begin = s.registry.Mark(t)
	checkTags(t, s, u, image)
	if n := count(s.registry.Since(t, begin), isPage); n < 1 || n > len(s.tags)/1000+1 {
		t.Errorf("a list of %d tags took %d pages", len(s.tags), n)
	}
	checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), image, "tags", imageTag)

	begin, before := s.registry.Mark(t), s.stored()
	checkPart(t, u.in(image, "tags", imageTag, "image.tar"), want)
	part := s.fetched(t, begin, before)
	copied := u.path("copy.tar")
	u.run(t, "cp", u.in(image, "tags", imageTag, "image.tar"), copied)
	if !bytes.Equal(readFile(t, copied), want) {
		t.Error("a copy of image.tar is not what pull writes")
	}
	checkArchive(t, want, b.content.image, image+":"+imageTag)
	whole := s.fetched(t, begin, before)
	t.Logf("a part: %v; with the copy: %v", part, whole)
	s.checkFetched(t, b, u, part, whole)

	begin = s.registry.Mark(t)
	u.run(t, "cp", u.in(image, "tags", imageTag, "image.tar"), u.path("again.tar"))
	checkTags(t, s, u, image)
	digest := digestOf(t, b.content.image.Digest)
	checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), image, "digests", digest)
	checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), image, "tags", "0.0@"+digest)
	byDigest := readFile(t, u.in(image, "digests", digest, "image.tar"))
	checkArchive(t, byDigest, b.content.image, "")
	if again := s.registry.Since(t, begin); len(again) > 0 {
		t.Errorf("what is known was asked for again: %+v", again)
	}

	checkIndex(t, b, u, s.host+"/"+indexRepository)
	s.checkStorage(t)
	if errs := u.text(t, ".ocidistfs/errors"); errs != "" {
		t.Errorf("errors: %s", errs)
	}
	u.checkSecrets(t)
}

// pull returns what ocidistfs pull writes, with a cache of its own.
func (u *user) pull(t *testing.T, reference string) []byte {
	t.Helper()
	path := u.path("pulled.tar")
	if _, err := u.try(t, u.stdin, u.ask("pull", "--cache-dir", u.path("cache-of-pull"), "--platform", platform,
		"--no-manifests", "--no-hashes", "--path", path, reference)...); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path)
}

// checkCatalog lists what the registry has, of which nothing was used yet.
func checkCatalog(t *testing.T, s *site, u *user) {
	t.Helper()
	for _, repository := range []string{imageRepository, indexRepository} {
		dir := s.host
		for name := range strings.SplitSeq(repository, "/") {
			if got := strings.Fields(u.run(t, "ls", u.in(dir))); !slices.Contains(got, name) {
				t.Errorf("ls %s shows %q, and not %s", dir, got, name)
			}
			dir += "/" + name
		}
		if got := u.run(t, "ls", u.in(dir)); got != "digests\ntags\n" {
			t.Errorf("ls %s shows %q", dir, got)
		}
	}
}

func checkTags(t *testing.T, s *site, u *user, image string) {
	t.Helper()
	if got := u.run(t, "ls", u.in(image, "tags")); got != strings.Join(s.tags, "\n")+"\n" {
		t.Errorf("ls shows %d tags, not the %d that were pushed", strings.Count(got, "\n"), len(s.tags))
	}
}

// checkManifest holds manifest.json of an image directory to what was pushed, and
// its digest to it.
func checkManifest(t *testing.T, u *user, want []byte, dir ...string) {
	t.Helper()
	got := u.run(t, "cat", u.in(append(dir, "manifest.json")...))
	if got != string(want) {
		t.Errorf("manifest.json: %s; want %s", got, want)
	}
	if digest := u.text(t, append(dir, "digest")...); digest != fmt.Sprintf("sha256:%x\n", sha256.Sum256(want)) {
		t.Errorf("digest is %q", digest)
	}
}

// checkPart reads in the middle of a file.
func checkPart(t *testing.T, path string, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	off := int64(len(want))/2 + 12_345
	got := make([]byte, 100_000)
	if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want[off:off+int64(len(got))]) {
		t.Errorf("%d bytes at %d of image.tar are wrong (%v)", len(got), off, err)
	}
	if i, err := f.Stat(); err != nil || i.Size() != int64(len(want)) {
		t.Errorf("image.tar has %d bytes, want %d (%v)", i.Size(), len(want), err)
	}
}

// checkArchive loads an image.tar as go-containerregistry does, and looks for the
// bytes that were pushed. name is what the image is called there, if anything.
func checkArchive(t *testing.T, archive []byte, image v1.Image, name string) {
	t.Helper()
	loaded, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digestOf(t, loaded.ConfigName), digestOf(t, image.ConfigName); got != want {
		t.Errorf("image.tar has the image %s, want %s", got, want)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(manifest[0].RepoTags, " "); got != name {
		t.Errorf("image.tar calls it %q, want %q", got, name)
	}
	members := membersOf(t, archive)
	for i, l := range layersOf(t, image) {
		want := bytesOf(t, l)
		member := manifest[0].Layers[i]
		if !bytes.Equal(members[member], want) {
			t.Errorf("layer %d, %s, is not what was pushed", i, member)
		}
	}
}

// membersOf are the files of a tar by their names.
func membersOf(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	members := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		if members[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// checkIndex looks at an index of two platforms.
func checkIndex(t *testing.T, b *bench, u *user, repository string) {
	t.Helper()
	checkManifest(t, u, manifestOf(t, b.content.index.RawManifest), repository, "tags", indexTag)
	resolved := u.text(t, repository, "tags", indexTag, "resolved-manifest.json")
	if want := manifestOf(t, b.content.ofIndex.RawManifest); resolved != string(want) {
		t.Errorf("resolved-manifest.json: %s; want %s", resolved, want)
	}
	checkArchive(t, readFile(t, u.in(repository, "tags", indexTag, "image.tar")), b.content.ofIndex, repository+":"+indexTag)
}
