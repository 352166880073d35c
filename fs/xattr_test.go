//go:build linux

package fs

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestLastError: "What failed has its reason in the attribute user.oci.last_error,
// the same as in .ocidistfs/errors and the log."
func TestLastError(t *testing.T) {
	var log lockedBuffer
	m := mountRegistry(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	m.registry.Push(t, "a", "1", registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{100_000}}))
	image := m.repository("a") + "/tags/1"
	attributes := func(path string) []string {
		t.Helper()
		return strings.Split(strings.TrimSuffix(reader(t, readAttributes, path), "\n"), "\n")
	}
	for _, path := range []string{m.dir, image, image + "/image.tar", m.dir + "/.ocidistfs"} {
		if got := attributes(path); len(got) != 1 || strings.Contains(got[0], "last_error") {
			t.Errorf("%s, of which nothing failed, has %q", path, got)
		}
	}
	m.registry.Break(registrytest.Refuse(503, "UNAVAILABLE", "down for cleaning"))
	m.registry.Forget()
	for file, at := range map[string]string{
		image + "/image.tar": image + "/image.tar",
		// What cannot be looked up has no attributes: its directory tells.
		m.repository("b") + "/tags/1":                                    m.repository("b") + "/tags",
		m.repository("c") + "/tags/1/digest":                             m.repository("c") + "/tags",
		m.repository("d") + "/digests/sha256:" + strings.Repeat("1", 64): m.repository("d") + "/digests",
	} {
		out, err := try(t, "cat", file)
		if err == nil || !strings.Contains(out, "Remote I/O error") {
			t.Fatalf("cat %s: %v, %q", file, err, out)
		}
		m.settle(t)
		asked := len(m.registry.Requests())
		got := attributes(at)
		if n := len(m.registry.Requests()); n != asked {
			t.Errorf("%s: its attributes cost %d requests", at, n-asked)
		}
		if len(got) != 2 || !strings.HasSuffix(got[0], `user.oci.last_error\x00"`) {
			t.Fatalf("%s: attributes %q", at, got)
		}
		fields := strings.Split(got[1], "\t")
		if len(fields) != 4 || fields[2] != "EREMOTEIO" || !strings.Contains(fields[3], "down for cleaning") {
			t.Fatalf("%s: last error %q", at, got[1])
		}
		if !strings.Contains("\n"+m.errors(t), "\n"+got[1]+"\n") {
			t.Errorf("%s: the last error %q is not in the errors %q", at, got[1], m.errors(t))
		}
		said, _, _ := strings.Cut(fields[3], " (") // how often
		path, err := filepath.Rel(m.dir, file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(path, fields[1]) {
			t.Errorf("%s: the last error is about %s", path, fields[1])
		}
		line := "path=" + fields[1] + " errno=\"remote I/O error\" error=\"" + said
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log has no %s:\n%s", line, &log)
		}
	}
	if got := attributes(m.dir); got[0] != `""` {
		t.Errorf("the root has %q", got)
	}
}

// "What stands for content has attributes that name it: digest, media type, size, reference, registry, annotations, and how much of it is cached."
func TestContentAttributes(t *testing.T) {
	m := mountRegistry(t, Options{})
	layer := []byte("a layer")
	digest := registrytest.DigestOf(layer)
	m.registry.PutBlob("a", layer)
	m.registry.PutBlob("a", []byte("{}"))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%q,"size":7,"annotations":{"b":"2"}}],"annotations":{"a":"1"}}`,
		types.OCIConfigJSON, registrytest.DigestOf([]byte("{}")), types.OCILayer, digest)
	d := m.registry.PutManifest("a", "1", types.OCIManifestSchema1, manifest).String()
	m.registry.Tag("a", "2", registrytest.DigestOf(manifest))
	repository := m.repository("a")
	host := filepath.Base(filepath.Dir(repository))
	attributes := func(path string) map[string]string {
		t.Helper()
		all := map[string]string{}
		for line := range strings.Lines(reader(t, dumpAttributes, repository+"/"+path)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			all[strings.TrimPrefix(name, tree.AttributePrefix)] = value
		}
		return all
	}
	image := map[string]string{
		"manifest.digest": d, "mediatype": string(types.OCIManifestSchema1), "size": "9", "ref": host + "/a:1@" + d,
		"registry": host, "cached": "0", "annotations": `{"a":"1"}`,
	}
	with := func(of map[string]string, change map[string]string) map[string]string {
		all := maps.Clone(of)
		maps.Copy(all, change)
		maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
		return all
	}
	name := "00-" + digest.Hex[:12]
	blob := map[string]string{
		"digest": digest.String(), "mediatype": string(types.OCILayer), "size": "7", "ref": host + "/a@" + digest.String(),
		"registry": host, "cached": "0", "annotations": `{"b":"2"}`,
	}
	length := fmt.Sprint(len(manifest))
	for path, want := range map[string]map[string]string{
		"tags/1":                                image,
		"tags/1/layers":                         image,
		"digests/" + d:                          with(image, map[string]string{"ref": host + "/a@" + d}),
		"tags/1/manifest.json":                  {"digest": d, "mediatype": image["mediatype"], "size": length, "ref": host + "/a@" + d, "registry": host, "cached": length, "annotations": `{"a":"1"}`},
		"tags/1/digest":                         with(image, map[string]string{"size": "72", "ref": host + "/a@" + d, "cached": "72"}),
		"tags/1/oci/oci-layout":                 with(image, map[string]string{"size": "30", "ref": host + "/a@" + d, "cached": "30"}),
		"tags/1/layers/" + name + ".tar.gz":     blob,
		"tags/1/oci/blobs/sha256/" + digest.Hex: blob,
		"tags":                                  {},
	} {
		if got := attributes(path); !maps.Equal(got, want) {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	tar := attributes("tags/1/image.tar")
	if want := with(image, map[string]string{"size": tar["size"]}); !maps.Equal(tar, want) || tar["size"] == "9" {
		t.Errorf("image.tar has %q, want %q", tar, want)
	}
	if n := m.registry.Count(registrytest.Blob); n != 0 {
		t.Errorf("%d requests for blobs", n)
	}
	run(t, "cat", repository+"/tags/1/layers/"+name+".tar.gz")
	if got := attributes("tags/1/layers/" + name + ".tar.gz"); got["cached"] != "7" {
		t.Errorf("of a layer that was read %q are cached", got["cached"])
	}

	// What is not known is not said: how large the image would be that an index does not have.
	m.registry.PushIndex(t, "a", "index", registrytest.Index(t, registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10}, Architecture: "other"})))
	if got := attributes("tags/index"); got["manifest.digest"] == "" || got["size"] != "" || got["cached"] != "" {
		t.Errorf("an index without an image for the platform has %q", got)
	}

	// ls lists the attributes of all it shows, and getfattr's user wants to know.
	run(t, "ls", repository+"/tags")
	m.registry.Forget()
	if got := reader(t, readAttributes, repository+"/tags/2"); !strings.Contains(got, tree.ManifestDigestAttribute) {
		t.Errorf("listed: %q", got)
	}
	if n := len(m.registry.Requests()); n != 0 {
		t.Errorf("%d requests to list the attributes of a tag", n)
	}
	if got := attributes("tags/2")["manifest.digest"]; got != d {
		t.Errorf("tag 2 is %q, want %q", got, d)
	}
}
