package interop

import (
	"path/filepath"
	"testing"
)

// skopeoDocker reads image.tar as what docker save writes: the config is there
// as it was, the manifest is made anew.
func skopeoDocker() loader {
	return loader{
		name: "skopeo docker-archive:", programs: []string{"skopeo"},
		start: func(t *testing.T, b *bench) (string, load) {
			return startSkopeo(t, b, "docker-archive", func(im *image) (string, kept) { return im.reference(), theName })
		},
		keeps: theName + theConfig,
	}
}

// skopeoOCI reads it as an archive of an OCI layout, whose images are named by
// their tags.
func skopeoOCI() loader {
	return loader{
		name: "skopeo oci-archive:", programs: []string{"skopeo"},
		start: func(t *testing.T, b *bench) (string, load) {
			return startSkopeo(t, b, "oci-archive", func(im *image) (string, kept) { return im.tag, theTag })
		},
		keeps: theTag + theDigest,
		// The tag finds manifests of OCI alone; without one, what is there is taken.
		others: map[string]kept{"schema 2": theDigest},
	}
}

// startSkopeo has a loader that copies out of image.tar, by the name that an
// image has there if that finds it.
func startSkopeo(t *testing.T, b *bench, transport string, name func(*image) (string, kept)) (string, load) {
	home := b.home(t, "skopeo-"+transport)
	skopeo := func(dir string, args ...string) command {
		return command{home: home, dir: dir, args: append([]string{"skopeo", "--insecure-policy", "--tmpdir", filepath.Join(home, "tmp")}, args...)}
	}
	return version(skopeo("", "--version").must(t)), func(t *testing.T, im *image) (kept, error) {
		// To skopeo a colon ends the path, and the mount's have one: of the port, of
		// the digest.
		from := transport + ":image.tar"
		if name, keeps := name(im); name != "" {
			to := t.TempDir()
			_, err := skopeo(im.dir, "copy", from+":"+name, "dir:"+to).run(t)
			if err == nil {
				return keeps + readManifest(t, filepath.Join(to, "manifest.json")).keeps(im), nil
			}
			t.Logf("not by name: %v", err)
		}
		to := t.TempDir()
		if _, err := skopeo(im.dir, "copy", from, "dir:"+to).run(t); err != nil {
			return "", err
		}
		return readManifest(t, filepath.Join(to, "manifest.json")).keeps(im), nil
	}
}
