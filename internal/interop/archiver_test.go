package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An archiver unpacks image.tar into its working directory.
func archiver(name, program string, versionOf, args []string) loader {
	return loader{
		name: name, programs: []string{program},
		start: func(t *testing.T, b *bench) (string, load) {
			home := b.home(t, name)
			return version(command{home: home, args: versionOf}.must(t)), func(t *testing.T, im *image) (kept, error) {
				dir := t.TempDir()
				c := command{home: home, dir: dir, stdin: im.tar(), args: append([]string{program}, args...)}
				if _, err := c.run(t); err != nil {
					return "", err
				}
				return unpacked(t, im, dir), nil
			}
		},
		keeps: theName + theDigest,
	}
}

func gnuTar() loader {
	return archiver("GNU tar", "tar", []string{"tar", "--version"}, []string{"xf", "-"})
}

func busyboxTar() loader {
	return archiver("busybox tar", "busybox", []string{"busybox"}, []string{"tar", "xf", "-"})
}

func bsdtar() loader {
	return archiver("bsdtar", "bsdtar", []string{"bsdtar", "--version"}, []string{"xf", "-"})
}

func pythonTar() loader {
	const script = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer).extractall()"
	return archiver("Python tarfile", "python3", []string{"python3", "--version"}, []string{"-c", script})
}

// unpacked is what a directory has of an image: its name in docker's manifest,
// and every blob, each with the bytes that its name says.
func unpacked(t *testing.T, im *image, dir string) kept {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var docker []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(b, &docker); err != nil {
		t.Fatal(err)
	}
	if len(docker) != 1 {
		t.Fatalf("manifest.json has %d images", len(docker))
	}
	whole := hasBlob(t, dir, im.digest)
	for _, path := range append([]string{docker[0].Config}, docker[0].Layers...) {
		whole = whole && hasBlob(t, dir, v1.Hash{Algorithm: "sha256", Hex: filepath.Base(path)})
	}
	return when(slices.Contains(docker[0].RepoTags, im.reference()), theName) + when(whole, theDigest)
}

// hasBlob says whether an OCI layout has the blob that a digest names.
func hasBlob(t *testing.T, layout string, d v1.Hash) bool {
	t.Helper()
	f, err := os.Open(filepath.Join(layout, "blobs", d.Algorithm, d.Hex))
	if err != nil {
		t.Error(err)
		return false
	}
	defer func() { _ = f.Close() }()
	got, _, err := v1.SHA256(f)
	if err != nil {
		t.Fatal(err)
	}
	return got == d
}
