package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// readerAt makes an io.ReaderAt of a reader of this module.
type readerAt struct {
	ctx context.Context
	readat.Reader
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.Reader.ReadAt(r.ctx, p, off) }

func section(t testing.TB, r readat.Reader) *io.SectionReader {
	return io.NewSectionReader(readerAt{t.Context(), r}, 0, r.Size())
}

// blobsIn reads an archive and checks that each blob in it has its digest. The
// names in it are returned in their order.
func blobsIn(t *testing.T, r io.Reader) (names []string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		sum := sha256.New()
		if _, err := io.Copy(sum, tr); err != nil {
			t.Fatal(err)
		}
		if hex, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && hex != "" && hex != fmt.Sprintf("%x", sum.Sum(nil)) {
			t.Errorf("%s does not hold its digest", h.Name)
		}
	}
}

func TestImageTar(t *testing.T) {
	for name, spec := range map[string]registrytest.ImageSpec{
		"OCI":            {Layers: []int64{100_000, 20}},
		"Docker":         {Layers: []int64{100_000, 20}, Docker: true},
		"repeated layer": {Layers: []int64{500, 70_000, 500}},
		"no layer":       {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			index, images := f.pushIndex("a/b/c", "index", registrytest.ImageSpec{Architecture: "arm64"}, spec)
			d := images[1]
			f.server.Tag("a/b/c", "image", d)
			layers := map[int64]bool{}
			for _, size := range spec.Layers {
				layers[size] = true
			}
			contents := map[string][]byte{}
			for path, members := range map[string]int{
				"tags/index":                  5 + 2 + 2 + len(layers),
				"tags/image":                  5 + 2 + 2 + len(layers),
				"tags/name@" + d.String():     5 + 2 + 2 + len(layers),
				"digests/" + d.String():       3 + 2 + 2 + len(layers),
				"digests/" + index.String():   3 + 2 + 2 + len(layers),
				"tags/name@" + index.String(): 5 + 2 + 2 + len(layers),
			} {
				content := []byte(f.read("a/b/c/" + path + "/image.tar"))
				contents[path] = content
				names := blobsIn(t, bytes.NewReader(content))
				if len(names) != members {
					t.Errorf("%s: members %q, want %d", path, names, members)
				}
				tag, named := strings.CutPrefix(path, "tags/")
				tag, _, _ = strings.Cut(tag, "@")
				if want := fmt.Sprintf("%q", f.path("a/b/c:"+tag)); bytes.Contains(content, []byte(want)) != named {
					t.Errorf("%s: the name %s is not where it belongs", path, want)
				}
				if bytes.Contains(content, []byte("@sha256")) {
					t.Errorf("%s: a name has a digest", path)
				}
			}
			if !bytes.Equal(contents["digests/"+d.String()], contents["digests/"+index.String()]) ||
				!bytes.Equal(contents["tags/name@"+d.String()], contents["tags/name@"+index.String()]) {
				t.Error("the archive of an index is not that of its image")
			}
			if want := 1 + len(layers); f.server.Count(registrytest.Blob) < want || f.store.Stats().Fetched != f.server.Sent() {
				t.Errorf("%d requests for %d blobs, %d bytes fetched of %d sent", f.server.Count(registrytest.Blob), want, f.store.Stats().Fetched, f.server.Sent())
			}
		})
	}
}

// TestImageTarRead reads at random what was read in order through another cache.
func TestImageTarRead(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{3 << 20, 10, 200_000}})
	inOrder := newFixture(t, registrytest.Options{})
	path := "a/digests/" + f.server.Push(t, "a", "", image).String() + "/image.tar"
	inOrder.server.Push(t, "a", "", image)
	want := []byte(inOrder.read(path))

	random := rand.New(rand.NewPCG(1, 2))
	open := f.open(path)
	for range 1000 {
		off := random.Int64N(open.Size() + 10)
		p := make([]byte, 1<<random.IntN(18))
		n, err := open.ReadAt(t.Context(), p, off)
		expected := want[min(off, open.Size()):min(off+int64(len(p)), open.Size())]
		if !bytes.Equal(p[:n], expected) || (n < len(p) && !errors.Is(err, io.EOF)) {
			t.Fatalf("%d bytes at %d: %d bytes, %v", len(p), off, n, err)
		}
	}
	if again := f.open(path); !again.Verified() {
		t.Error("all of it was read, and it is not verified")
	}
	if f.store.Stats().Fetched > int64(len(want)) {
		t.Errorf("%d bytes were fetched for an archive of %d", f.store.Stats().Fetched, len(want))
	}
}

func TestImageTarByTheRules(t *testing.T) {
	// Longer than a chunk of the cache, and short enough to be read byte by byte.
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{40_000, 10, 20_000}})
	warm, cold := newFixture(t, registrytest.Options{}), newFixture(t, registrytest.Options{})
	path := "a/digests/" + warm.server.Push(t, "a", "", image).String() + "/image.tar"
	cold.server.Push(t, "a", "", image)
	if err := iotest.TestReader(section(t, cold.open(path)), []byte(warm.read(path))); err != nil {
		t.Error(err)
	}
}

// A file that is open keeps its bytes when its tag moves.
func TestOpenFileOutlivesItsTag(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	before := f.read("a/tags/1/image.tar")
	held := f.mustLookup("a/tags/1/image.tar").Node
	f.tree = f.newTree("linux/amd64")
	open := f.open("a/tags/1/image.tar")
	f.push("a", "1", 2)
	f.pass(tagTTL)
	after := f.read("a/tags/1/image.tar")
	if after == before {
		t.Fatal("the tag did not move")
	}
	if string(readAll(t, open)) != before {
		t.Error("the open file has changed")
	}
	if again, err := held.(File).Open(t.Context()); err != nil || string(readAll(t, again)) != before {
		t.Errorf("the file has changed: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// endless is the content of a blob that nobody downloads.
type endless struct{}

func (endless) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// A layer over 8 GiB is laid out, and what lies behind it read, without it.
func TestImageTarOver8GiB(t *testing.T) {
	const size = 9 << 30
	f := newFixture(t, registrytest.Options{})
	config := f.server.PutBlob("a", []byte("{}"))
	large := registrytest.DigestOf([]byte("large"))
	f.server.PutBlobAs("a", large, endless{}, size)
	last := f.server.PutBlob("a", []byte("the last layer"))
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: config, Size: 2},
		Layers: []v1.Descriptor{
			{MediaType: types.OCILayer, Digest: large, Size: size},
			{MediaType: types.OCILayer, Digest: last, Size: 14},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.server.PutManifest("a", "1", types.OCIManifestSchema1, manifest)
	if got := f.attr("a/tags/1/image.tar").Size; got < size {
		t.Fatalf("image.tar has %d bytes", got)
	}
	if n := f.server.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for blobs to stat it", n)
	}
	open := f.open("a/tags/1/image.tar")
	var found bool
	for tr := tar.NewReader(section(t, open)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Name {
		case "blobs/sha256/" + large.Hex:
			if found = true; h.Size != size {
				t.Errorf("the layer has %d bytes", h.Size)
			}
		case "blobs/sha256/" + last.Hex:
			if b, err := io.ReadAll(tr); string(b) != "the last layer" || err != nil {
				t.Errorf("behind the large layer: %q, %v", b, err)
			}
		}
	}
	if sent := f.server.Sent(); !found || sent > 1<<20 {
		t.Errorf("%d bytes were sent", sent)
	}
}

// Wrong bytes are an error, whoever reads them and whenever.
func TestImageTarOfWrongBytes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.push("a", "1", 1)
	f.server.Break(registrytest.Only(registrytest.Blob, registrytest.FlipAt(50)))
	for range 2 {
		open := f.open("a/tags/1/image.tar")
		_, err := io.Copy(io.Discard, section(t, open))
		if !errors.Is(err, cache.ErrMismatch) {
			t.Errorf("error %v, want %v", err, cache.ErrMismatch)
		}
		if open.Verified() {
			t.Error("it is said to be verified")
		}
	}
}

// Foreign layers come from the registry where that has them, and a manifest
// that names thousands of addresses is no reason to ask them all.
func TestForeignLayer(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	repo, err := f.tree.repository(f.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	d := v1.Descriptor{Digest: f.server.PutBlob("a", []byte("here")), Size: 4, URLs: []string{"https://127.0.0.1:1/"}}
	body, start, err := BlobFetcher(f.client, repo.remote, d).BlobRange(t.Context(), d.Digest, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(body); start != 1 || string(b) != "ere" || err != nil {
		t.Errorf("%q at %d, %v", b, start, err)
	}
	_ = body.Close() // all of it was read

	for len(d.URLs) < 1000 {
		d.URLs = append(d.URLs, fmt.Sprintf("http://127.0.0.1:1/%d", len(d.URLs))) // refused without a connection
	}
	f.server.DeleteBlob("a", d.Digest)
	_, _, err = BlobFetcher(f.client, repo.remote, d).BlobRange(t.Context(), d.Digest, 0, 4)
	if err == nil || strings.Count(err.Error(), "\n") != maxURLs {
		t.Errorf("error %v, want one for the registry and one for each of %d addresses", err, maxURLs)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("error %v means that there is no such layer, though no address said so", err)
	}
	f.server.Break(registrytest.Only(registrytest.Blob, registrytest.Refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "later")))
	if _, _, err := BlobFetcher(f.client, repo.remote, d).BlobRange(t.Context(), d.Digest, 0, 4); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want the registry's alone: it did not say that it has no such layer", err)
	}
}

// Many readers of many files at once get what each asked for.
func TestImageTarReadByMany(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	f.server.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1 << 20, 1 << 20, 30}}))
	var all sync.WaitGroup
	copies := make([][]byte, 8)
	for i := range copies {
		all.Go(func() {
			child, err := f.lookup("a/tags/1/image.tar")
			if err != nil {
				t.Error(err)
				return
			}
			open, err := child.Node.(File).Open(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if copies[i], err = io.ReadAll(section(t, open)); err != nil {
				t.Error(err)
			}
			if err := open.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range copies {
		if !bytes.Equal(c, copies[0]) {
			t.Fatal("two readers got two archives")
		}
	}
	blobsIn(t, bytes.NewReader(copies[0]))
	if fetched := f.store.Stats().Fetched; fetched != f.server.Sent() || fetched > int64(len(copies[0])) {
		t.Errorf("%d bytes fetched for %d", fetched, len(copies[0]))
	}
}
