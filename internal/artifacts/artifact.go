package artifacts

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// titled is a descriptor with the name of the file that it was.
func titled(d ocispec.Descriptor, name string) ocispec.Descriptor {
	return annotated(d, ocispec.AnnotationTitle, name)
}

// Chart is what `helm push` pushes (helm, "Helm OCI MIME types").
func Chart() *Fixture {
	b := build("chart")
	config := marshal(map[string]string{"name": "fixture", "version": "1.0.0", "apiVersion": "v2", "type": "application", "description": "A chart"})
	chart := zipped(
		file{"fixture/Chart.yaml", "apiVersion: v2\nname: fixture\nversion: 1.0.0\n"},
		file{"fixture/templates/service.yaml", "kind: Service\n"},
	)
	return b.tagged(b.manifest(ocispec.Manifest{
		Config: b.blob("application/vnd.cncf.helm.config.v1+json", config),
		Layers: []ocispec.Descriptor{
			titled(b.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart.stored), "fixture-1.0.0.tgz"),
			titled(b.blob("application/vnd.cncf.helm.chart.provenance.v1.prov", []byte("-----BEGIN PGP SIGNED MESSAGE-----\n")), "fixture-1.0.0.tgz.prov"),
		},
		Annotations: map[string]string{ocispec.AnnotationTitle: "fixture", ocispec.AnnotationVersion: "1.0.0"},
	}))
}

// Files is what `oras push` pushes of several files, under titles that oras would
// take from nobody, and others do not check: hidden ones, paths, options, the same
// one twice, those of other files.
func Files() *Fixture {
	b := build("files")
	text := func(content string) ocispec.Descriptor { return b.blob("text/plain", []byte(content)) }
	of := func(position int, content string) string {
		return fmt.Sprintf("%02d-%s", position, digest.FromString(content).Encoded()[:12])
	}
	layers := []ocispec.Descriptor{
		titled(text("hello\n"), "hello.txt"),
		titled(b.blob("application/json", []byte(`{"a":1}`)), "data.json"),
		titled(text("up\n"), "../x"),
		titled(text("below\n"), "a/b"),
		titled(text("absolute\n"), "/etc/passwd"),
		titled(text("option\n"), "-rf"),
		titled(text("hidden\n"), ".hidden"),
		titled(text("here\n"), "."),
		titled(text("above\n"), ".."),
		titled(text("one\n"), "notes.txt"),
		titled(text("two\n"), "notes.txt"),
		titled(text("position\n"), of(11, "position\n")+".json"),
		titled(text("another's position\n"), of(0, "hello\n")+".blob"),
		titled(text("two lines\n"), "two\nlines"),
		titled(text("reversed\n"), "txt.\u202eexe"),
		titled(text("NUL\n"), "nul\x00.txt"),
		titled(text("long\n"), strings.Repeat("long", 64)),
		titled(text("empty\n"), ""),
		titled(text("space\n"), "name with spaces.txt"),
		titled(text("beyond ASCII\n"), "größe.txt"),
		titled(text("case\n"), "HELLO.txt"),
		annotated(titled(b.blob("application/vnd.oci.image.layer.v1.tar+gzip", zipped(file{"dir/", ""}, file{"dir/file", "file\n"}).stored), "dir"),
			"io.deis.oras.content.digest", plain(file{"dir/", ""}, file{"dir/file", "file\n"}).diffID.String(), "io.deis.oras.content.unpack", "true"),
		text("no title\n"),
		titled(text("the same bytes\n"), "first.txt"),
		titled(text("the same bytes\n"), "second.txt"),
	}
	return b.tagged(b.manifest(ocispec.Manifest{
		ArtifactType: "application/vnd.example.files", Config: b.empty(), Layers: layers,
		Annotations: map[string]string{ocispec.AnnotationCreated: "2026-01-02T03:04:05Z"},
	}))
}

// EmptyConfig is the least that an artifact can be (image-spec, manifest.md,
// "Guidelines for Artifact Usage"): the config is the empty object, and so is
// the only layer.
func EmptyConfig() *Fixture {
	b := build("empty-config")
	return b.tagged(b.manifest(ocispec.Manifest{
		ArtifactType: "application/vnd.example+type", Config: b.empty(), Layers: []ocispec.Descriptor{b.empty()},
		Annotations: map[string]string{"com.example.data": "this artifact is its annotations"},
	}))
}

// empty adds the empty object, with its bytes in the descriptor too.
func (b *builder) empty() ocispec.Descriptor {
	d := b.blob(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	d.Data = []byte("{}")
	return d
}
