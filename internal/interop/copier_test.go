package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// skopeoCopy compresses layers that are not, unless it is told that the digest counts.
func skopeoCopy() *copier {
	return &copier{
		name: "skopeo copy", programs: []string{"skopeo"},
		copy: func(t *testing.T, home string, l *layout, target string) (string, error) {
			_, err := inDir(l, home, "skopeo", "--insecure-policy", "--tmpdir", filepath.Join(home, "tmp"),
				"copy", "--preserve-digests", "--dest-tls-verify=false", "oci:"+ofOCI(l), "docker://"+target).run(t)
			if err != nil {
				return "", err
			}
			return pushed(t, target).digest.String(), nil
		},
	}
}

// skopeoInspect looks at an image without its layers.
func skopeoInspect() *copier {
	return &copier{
		name: "skopeo inspect", programs: []string{"skopeo"}, partial: true,
		copy: func(t *testing.T, home string, l *layout, _ string) (string, error) {
			out, err := inDir(l, home, "skopeo", "--insecure-policy", "--tmpdir", filepath.Join(home, "tmp"),
				"inspect", "--format", "{{.Digest}}", "oci:"+ofOCI(l)).run(t)
			return strings.TrimSpace(out), err
		},
		refuses: map[string]string{"chart": "unsupported image-specific operation on artifact"},
	}
}

func cranePushLayout() *copier {
	return &copier{
		name: "crane push",
		copy: func(t *testing.T, home string, l *layout, target string) (string, error) {
			if _, err := inDir(l, home, goTool(t, "crane"), "push", "oci", target).run(t); err != nil {
				return "", err
			}
			return pushed(t, target).digest.String(), nil
		},
	}
}

func regctlCopy() *copier {
	return &copier{
		name: "regctl image copy",
		copy: func(t *testing.T, home string, l *layout, target string) (string, error) {
			host, _, _ := strings.Cut(target, "/")
			_, err := inDir(l, home, goTool(t, "regctl"), "--host", "reg="+host+",tls=disabled", "image", "copy", "ocidir://"+byName(l), target).run(t)
			if err != nil {
				return "", err
			}
			return pushed(t, target).digest.String(), nil
		},
	}
}

func orasCopy() *copier {
	return &copier{
		name: "oras cp",
		copy: func(t *testing.T, home string, l *layout, target string) (string, error) {
			_, err := inDir(l, home, goTool(t, "oras"), "cp", "--from-oci-layout", byName(l), "--to-plain-http", target).run(t)
			if err != nil {
				return "", err
			}
			return pushed(t, target).digest.String(), nil
		},
	}
}

// umociUnpack makes a bundle: that it has the files is its own affair, and it says
// which manifest they are from.
func umociUnpack() *copier {
	return &copier{
		name: "umoci unpack", programs: []string{"umoci"},
		copy: func(t *testing.T, home string, l *layout, _ string) (string, error) {
			bundle := filepath.Join(t.TempDir(), "bundle")
			if _, err := inDir(l, home, "umoci", "unpack", "--image", l.oci(), bundle).run(t); err != nil {
				return "", err
			}
			if _, err := os.Stat(filepath.Join(bundle, "rootfs", "etc", "os-release")); err != nil {
				t.Error(err)
			}
			made, err := filepath.Glob(filepath.Join(bundle, "sha256_*.mtree"))
			if err != nil || len(made) != 1 {
				t.Fatalf("the bundle has %q, %v", made, err)
			}
			return strings.Replace(strings.TrimSuffix(filepath.Base(made[0]), ".mtree"), "_", ":", 1), nil
		},
		refuses: map[string]string{
			"schema2": "descriptor does not point to ispec.MediaTypeImageManifest: not implemented",
			"layers":  "blob is not correct mediatype: application/vnd.oci.image.layer.v1.tar+zstd",
			"chart":   "config blob is not correct mediatype",
			// It wants a name, and takes none for "latest".
			"digest": "tag is not found: latest",
		},
	}
}

func podmanPull() *copier {
	return &copier{
		name: "podman pull", programs: []string{"podman"},
		copy: func(t *testing.T, home string, l *layout, _ string) (string, error) {
			podman := func(args ...string) command {
				return inDir(l, home, append([]string{
					"podman", "--root", filepath.Join(home, "root"), "--runroot", filepath.Join(home, "run"), "--tmpdir", filepath.Join(home, "libpod"),
					"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
				}, args...)...)
			}
			id, err := podman("pull", "--quiet", "oci:"+ofOCI(l)).run(t)
			if err != nil {
				return "", err
			}
			return strings.TrimSpace(podman("image", "inspect", "--format", "{{.Digest}}", strings.TrimSpace(id)).must(t)), nil
		},
		refuses: map[string]string{"chart": "unsupported image-specific operation on artifact"},
	}
}

// inDir is a program that is run in the image directory.
func inDir(l *layout, home string, args ...string) command {
	return command{home: home, dir: l.dir, args: args}
}

// ofOCI is the image in the layout for those that find by a name nothing that is not
// OCI's own, and take the only one that there is without one.
func ofOCI(l *layout) string {
	if l.docker {
		return "oci"
	}
	return l.oci()
}

// byName is the image in the layout for those that want it named.
func byName(l *layout) string {
	if l.tag == "" {
		return "oci@" + l.digest
	}
	return l.oci()
}
