package interop

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// testDockerSave has docker's engine pull each image into its containerd image store
// and save it, and holds docker-save.tar to what it writes, byte for byte; and
// ocidistfs verify to finding no difference in it.
func testDockerSave(t *testing.T, b *bench) {
	if _, err := exec.LookPath("runc"); err != nil {
		gate.Missing(t, "runc is not installed")
	}
	e := startEngine(t, b)
	t.Logf("the engine is %s", e.version(t))
	for _, im := range append(b.images[:len(b.images):len(b.images)], attested(t, b)) {
		t.Run(im.name, func(t *testing.T) {
			ref := im.host + "/" + im.repository
			if im.tag != "" {
				ref += ":" + im.tag
			}
			if strings.Contains(im.below, "sha256:") {
				ref += "@" + im.digest.String()
			}
			e.pull(t, ref)
			defer e.remove(t, ref) // what another image brought is not pulled, and then not saved
			path := filepath.Join(e.home, im.config.Hex+".tar")
			e.save(t, ref, path)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := dockerSave(t, b, im)
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, the engine writes %d: %s", len(want), len(got), firstDifference(t, want, got))
			}
			verify := []string{filepath.Join(b.dir, "ocidistfs"), "verify", "--anonymous", path, ref}
			if im.host == dockerHub {
				verify = append(verify, "--proxy", startProxy(t, b.registry.Host), "--insecure", dockerHub)
			}
			command{home: e.home, args: verify}.must(t)
		})
	}
}

// attested pushes an index of an image with an attestation, as BuildKit makes them.
func attested(t *testing.T, b *bench) *image {
	t.Helper()
	im := &image{name: "attested", host: b.registry.Host, repository: "some/attested", tag: "1.0"}
	made := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000}, Architecture: runtime.GOARCH})
	about := mutate.ConfigMediaType(mutate.MediaType(registrytest.Image(t, registrytest.ImageSpec{OS: "unknown", Architecture: "unknown"}), types.OCIManifestSchema1), types.OCIConfigJSON)
	about, err := mutate.Append(about, mutate.Addendum{
		Layer:       static.NewLayer([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2"}`), "application/vnd.in-toto+json"),
		MediaType:   "application/vnd.in-toto+json",
		Annotations: map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if im.digest, err = made.Digest(); err != nil {
		t.Fatal(err)
	}
	if im.config, err = made.ConfigName(); err != nil {
		t.Fatal(err)
	}
	other := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100}, Architecture: "s390x"})
	b.registry.PushIndex(t, im.repository, im.tag, mutate.AppendManifests(registrytest.Index(t, other, made), mutate.IndexAddendum{
		Add: about,
		Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": im.digest.String(),
			},
		},
	}))
	return im
}

// dockerSave is docker-save.tar of an image, from the registry.
func dockerSave(t *testing.T, b *bench, im *image) []byte {
	t.Helper()
	repository, err := name.NewRepository(b.registry.Host+"/"+im.repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(ref name.Reference) *remote.Descriptor {
		d, err := remote.Get(ref, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	resolved := manifest(repository.Digest(im.digest.String()))
	p := imagetar.Pulled{
		Image:      imagetar.Image{Manifest: resolved.Manifest, MediaType: resolved.MediaType},
		Repository: im.host + "/" + im.repository,
	}
	if !strings.Contains(im.below, "sha256:") {
		p.Name = imagetar.Name{Repository: p.Repository, Tag: im.tag}
		if referenced := manifest(repository.Tag(im.tag)); referenced.Digest != resolved.Digest {
			p.Index = referenced.Manifest
		}
	}
	if p.Index != nil {
		d, ok, err := imagetar.AttestationOf(p.Index, im.digest)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			p.Attestation = manifest(repository.Digest(d.Digest.String())).Manifest
		}
	}
	a, err := imagetar.DockerSave(p)
	if err != nil {
		t.Fatal(err)
	}
	var written bytes.Buffer
	err = a.Write(t.Context(), &written, func(ctx context.Context, w io.Writer, d v1.Descriptor) error {
		blob, err := remote.Layer(repository.Digest(d.Digest.String()), remote.WithContext(ctx))
		if err != nil {
			return err
		}
		content, err := blob.Compressed()
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }()
		_, err = io.Copy(w, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return written.Bytes()
}

// firstDifference says where two tarballs differ.
func firstDifference(t *testing.T, want, got []byte) string {
	t.Helper()
	ours, theirs := tar.NewReader(bytes.NewReader(want)), tar.NewReader(bytes.NewReader(got))
	for {
		a, err := ours.Next()
		b, theirErr := theirs.Next()
		if err != nil || theirErr != nil {
			return fmt.Sprintf("ours ends with %v, the engine's with %v", err, theirErr)
		}
		x, err := io.ReadAll(ours)
		y, theirErr := io.ReadAll(theirs)
		if err = errors.Join(err, theirErr); err != nil {
			t.Fatal(err)
		}
		switch {
		case a.Name != b.Name || a.Mode != b.Mode || a.Size != b.Size:
			return fmt.Sprintf("%s %o %d, the engine's %s %o %d\n%.2000s\n%.2000s", a.Name, a.Mode, a.Size, b.Name, b.Mode, b.Size, x, y)
		case !bytes.Equal(x, y):
			return fmt.Sprintf("%s:\n%.2000s\n%.2000s", a.Name, x, y)
		}
	}
}
