package interop

import (
	"os"
	"path/filepath"
	"testing"
)

// umoci reads OCI layouts in directories alone: image.tar is unpacked for it, and
// is one. Images are found by their tags.
func umoci() loader {
	return loader{
		name: "umoci unpack", programs: []string{"umoci", "tar"},
		start: startUmoci,
		keeps: theTag + theDigest + theFiles,
		refuses: map[string]string{
			"zstd":     "blob is not correct mediatype",
			"schema 2": "descriptor does not point to ispec.MediaTypeImageManifest: not implemented",
			"digest":   "tag contains invalid characters: ''",
		},
	}
}

func startUmoci(t *testing.T, b *bench) (string, load) {
	home := b.home(t, "umoci")
	umoci := func(args ...string) command {
		return command{home: home, args: append([]string{"umoci"}, args...)}
	}
	return version(umoci("--version").must(t)), func(t *testing.T, im *image) (kept, error) {
		dir := t.TempDir()
		layout, bundle := filepath.Join(dir, "layout"), filepath.Join(dir, "bundle")
		if err := os.Mkdir(layout, 0o700); err != nil {
			t.Fatal(err)
		}
		command{home: home, args: []string{"tar", "x", "-C", layout}, stdin: im.tar()}.must(t)
		if _, err := umoci("unpack", "--image", layout+":"+im.tag, bundle).run(t); err != nil {
			return "", err
		}
		line, err := os.ReadFile(filepath.Join(bundle, "rootfs", lineName))
		if err != nil {
			t.Fatal(err)
		}
		// It reads the layout in place, so that the digest is that of the layout.
		return theTag + when(hasBlob(t, layout, im.digest), theDigest) + when(string(line) == im.line(), theFiles), nil
	}
}
