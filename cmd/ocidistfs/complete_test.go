package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
)

// knownCache makes a cache directory that knows a few names.
func knownCache(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	store, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := v1.NewHash(testDigest)
	if err != nil {
		t.Fatal(err)
	}
	for name, tags := range map[string][]string{
		"docker.io/library/alpine":     {"3.10", "3.11", "latest"},
		"docker.io/library/busybox":    {"1", "sha256-" + strings.TrimPrefix(testDigest, "sha256:") + ".sig"},
		"reg.example.com:5000/tea/pot": {"1.0"},
	} {
		r := store.Repository(name)
		for _, tag := range tags {
			if err := r.PutTag(tag, cache.Tag{Digest: d, Resolved: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.PutManifest(d, "type", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestComplete(t *testing.T) {
	t.Setenv("OCIDISTFS_CACHE_DIR", knownCache(t))
	app := newApplication(streams{strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}})
	for _, c := range []struct{ line, want string }{
		{"pu", "pull"},
		{"", "mount unmount status refresh doctor tags manifest pull export verify ls cat cp tree diff cache demo completion version"},
		{"nosuch", ""},
		{"nosuch a", ""},
		{"-", "--help"},
		{"completion ", "bash zsh fish"},
		{"completion bash ", ""},
		{"pull --no-", "--no-manifests --no-hashes --no-cache"},
		{"pull --pa", "--password= --password-stdin --path="},
		{"pull -- --pa", ""},
		{"pull --path ", ":files"},
		{"pull --path=", ":files"},
		{"verify ", ":files"},
		{"verify - reg", "reg.example.com:5000/"},
		{"pull --path - ", "docker.io/ reg.example.com:5000/"},
		{"pull ", "docker.io/ reg.example.com:5000/"},
		{"pull reg", "reg.example.com:5000/"},
		{"pull docker.io/", "docker.io/library/alpine: docker.io/library/busybox:"},
		{"pull docker.io/library/a", "docker.io/library/alpine:"},
		{"pull docker.io/library/alpine:", "docker.io/library/alpine:3.10 docker.io/library/alpine:3.11 docker.io/library/alpine:latest"},
		{"pull docker.io/library/alpine:3", "docker.io/library/alpine:3.10 docker.io/library/alpine:3.11"},
		{"pull docker.io/alpine:3", "docker.io/alpine:3.10 docker.io/alpine:3.11"},
		{"pull docker.io/library/alpine@", "docker.io/library/alpine@" + testDigest},
		{"pull docker.io/library/alpine:3.10@sha", "docker.io/library/alpine:3.10@" + testDigest},
		{"pull docker.io/library/nosuch:", ""},
		{"pull docker.io/library/busybox:", "docker.io/library/busybox:1"}, // its signature is looked for by nobody
		{"pull reg.example.com:5000/tea/pot:", "reg.example.com:5000/tea/pot:1.0"},
		{"pull --anonymous docker.io/library/b", "docker.io/library/busybox:"},
		{"pull --username docker.io/library/b", ""},
		{"pull docker.io/library/alpine:3.10 docker.io/", ""},
		{"pull --cache-dir /nosuch docker.io/", ""},
		{"pull --cache-dir=/nosuch docker.io/", ""},
		{"tags docker.io/library/a", "docker.io/library/alpine"},
		{"tags docker.io/library/alpine:", ""},
		{"diff docker.io/library/alpine:3.10 docker.io/library/alpine:3.1", "docker.io/library/alpine:3.10 docker.io/library/alpine:3.11"},
		{"ls ", "docker.io/ reg.example.com:5000/"},
		{"ls /r", "/reg.example.com:5000/"},
		{"ls docker.io/library/", "docker.io/library/alpine/ docker.io/library/busybox/"},
		{"ls -l docker.io/library/alpine/", "docker.io/library/alpine/digests/ docker.io/library/alpine/tags/"},
		{"cat docker.io/library/alpine/tags/3", "docker.io/library/alpine/tags/3.10/ docker.io/library/alpine/tags/3.11/"},
		{"cat docker.io/library/alpine/tags/3.10/man", "docker.io/library/alpine/tags/3.10/manifest.json"},
		{"cat docker.io/library/alpine/tags/3.10/digest reg.example.com:5000/tea/pot/digests/", "reg.example.com:5000/tea/pot/digests/" + testDigest + "/"},
		{"cp docker.io/library/b", "docker.io/library/busybox/"},
		{"cp docker.io/library/alpine/tags/3.10/digest ", ":files"},
		{"tree -L 2 docker.io/library/b", "docker.io/library/busybox/"},
		{"tree docker.io/library/nosuch/tags/", ""},
		{"tree docker.io nosuch", ""},
		{"ls --cache-dir /nosuch docker.io/", ""},
		{"manifest --resolve --platform linux/arm/", "linux/arm/v7 linux/arm/v6"},
		{"manifest --platform=linux/s", "--platform=linux/s390x"},
		{"mount ", ":directories"},
		{"mount -f --log-level w", "warn"},
		{"mount --registry r", "reg.example.com:5000"},
		{"refresh ", ":directories"},
		{"status --j", "--json"},
		{"daemon ", ""},
		{"cache ", "info verify prune clear"},
		{"cache p", "prune"},
		{"cache nosuch ", ""},
		{"cache prune ", ""},
		{"cache prune --o", "--older-than="},
		{"cache info --cache-dir ", ":directories"},
	} {
		got := complete(app.kingpin.Model(), strings.Split(c.line, " ")).String()
		var words []string
		for line := range strings.Lines(got) {
			word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			words = append(words, word)
		}
		if !slices.Equal(words, strings.Fields(c.want)) {
			t.Errorf("%q: %q, want %q", c.line, words, c.want)
		}
	}
	if got := complete(app.kingpin.Model(), nil); len(got.candidates) == 0 {
		t.Error("an empty line has no commands")
	}
}
