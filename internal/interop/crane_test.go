package interop

import (
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// cranePush pushes image.tar, and validates what is in the registry then.
// Whoever pushes chooses the name. The manifest is always Docker's.
func cranePush() loader {
	return loader{
		name: "crane push", start: startCranePush,
		keeps: theConfig + theFiles,
		// The layers are in the registry as they were, and the manifest calls them
		// gzip.
		others: map[string]kept{"schema 2": theDigest + theFiles, "zstd": theConfig},
	}
}

// craneValidate reads all of image.tar: every layer has to be what the config
// says.
func craneValidate() loader {
	return loader{
		name: "crane validate", start: startCraneValidate,
		keeps: theFiles,
		// It takes every layer for gzip.
		refuses: map[string]string{"zstd": "gzip: invalid header"},
	}
}

func startCranePush(t *testing.T, b *bench) (string, load) {
	program := goTool(t, "crane")
	home := b.home(t, "crane")
	s := distributiontest.Start(t, distributiontest.Open)
	return builtVersion(t, program), func(t *testing.T, im *image) (kept, error) {
		to := s.Host + "/" + im.repository + ":pushed"
		if _, err := (command{home: home, args: []string{program, "push", im.tar(), to}}).run(t); err != nil {
			return "", err
		}
		m := pushed(t, to)
		_, err := command{home: home, args: []string{program, "validate", "--remote", to}}.run(t)
		if err != nil {
			t.Logf("layers of %s are not valid: %v", m.layers, err)
		}
		return m.keeps(im) + when(err == nil, theFiles), nil
	}
}

func startCraneValidate(t *testing.T, b *bench) (string, load) {
	program := goTool(t, "crane")
	home := b.home(t, "crane")
	return builtVersion(t, program), func(t *testing.T, im *image) (kept, error) {
		if _, err := (command{home: home, args: []string{program, "validate", "--tarball", im.tar()}}).run(t); err != nil {
			return "", err
		}
		return theFiles, nil
	}
}

// pushed is what a registry has under a tag.
func pushed(t *testing.T, tag string) manifest {
	t.Helper()
	ref, err := name.NewTag(tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(ref, remote.WithContext(t.Context()), remote.WithTransport(http.DefaultTransport))
	if err != nil {
		t.Fatal(err)
	}
	return parseManifest(t, got.Manifest)
}
