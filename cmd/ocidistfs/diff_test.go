package main

import (
	"bytes"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// configured is an image with a config and a history of its own.
func configured(t *testing.T, change func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{1000}})
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config = v1.Config{Env: []string{"PATH=/bin", "VERSION=1"}, Cmd: []string{"sh"}, Labels: map[string]string{"stays": "so", "maintainer": "alice"}, User: "root"}
	config.History = []v1.History{{CreatedBy: "ADD  rootfs.tar\t/"}, {CreatedBy: "RUN make", EmptyLayer: true}, {Comment: "the end"}}
	change(config)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestDiffOfConfigs compares images of the same layers, of which one has a control
// sequence in its config.
func TestDiffOfConfigs(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Push(t, "a", "1", configured(t, func(*v1.ConfigFile) {}))
	s.Push(t, "a", "2", configured(t, func(c *v1.ConfigFile) {
		c.Config.Env = []string{"VERSION=2", "PATH=/bin", "EXTRA="}
		c.Config.Cmd = []string{"sh", "-c"}
		c.Config.Labels = map[string]string{"stays": "so", "source": "\x1b[2J"}
		c.Config.User = ""
		c.History = append(c.History[:1:1], v1.History{CreatedBy: "RUN make install"}, c.History[2])
	}))
	t.Setenv("OCIDISTFS_CACHE_DIR", t.TempDir()+"/cache")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"diff", s.Host() + "/a:1", s.Host() + "/a:2"}, streams{strings.NewReader(""), &out, &errs})
	if code != exitDifferent || errs.Len() > 0 {
		t.Errorf("exit %d, %s", code, &errs)
	}
	_, got, _ := strings.Cut(out.String(), "\nconfig\n")
	got, layers, _ := strings.Cut(got, "layers\n")
	want := `- config.Cmd ["sh"]
+ config.Cmd ["sh","-c"]
+ config.Env.EXTRA
- config.Env.VERSION 1
+ config.Env.VERSION 2
- config.Labels.maintainer alice
+ config.Labels.source "\x1b[2J"
- config.User root
history
- RUN make
+ RUN make install
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !strings.HasSuffix(layers, "\n1 layer shared, 2.6 kB; 0 layers new, 0 B\n") {
		t.Error(layers)
	}
}

// TestDiffOfOthers compares what is no container image, and what cannot be compared.
func TestDiffOfOthers(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "1", types.OCIManifestSchema1, []byte(`{"schemaVersion":2,"artifactType":"x/y","annotations":{"a":"1"}}`))
	s.PutManifest("a", "2", types.OCIManifestSchema1, []byte(`{"schemaVersion":2,"artifactType":"x/z","annotations":{"a":"1"}}`))
	s.PutManifest("a", "bad", types.OCIManifestSchema1, []byte(`{"schemaVersion":2,"layers":1}`))
	s.PutManifest("a", "big", types.OCIManifestSchema1, []byte(`{"schemaVersion":2,"config":{"digest":"`+testDigest+`","size":9000000000}}`))
	t.Setenv("OCIDISTFS_CACHE_DIR", t.TempDir()+"/cache")
	for _, c := range []struct {
		other, out, errs string
		code             int
	}{
		{"2", "\n- artifactType x/y\n+ artifactType x/z\nlayers\n", "", exitDifferent},
		{"1", "", "", 0},
		{"bad", "", "layers", exitTrouble},
		{"big", "", "it is too long: 9000000000 bytes of 8388608", exitTrouble},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"diff", s.Host() + "/a:1", s.Host() + "/a:" + c.other}, streams{strings.NewReader(""), &out, &errs})
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) || (c.out == "") != (out.Len() == 0) {
			t.Errorf("%s: exit %d\n%s%s", c.other, code, &out, &errs)
		}
	}
}
