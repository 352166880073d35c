package chaos

import (
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestOffline: what was read is read again when the registry is gone, by another
// process.
func TestOffline(t *testing.T) {
	b := newBench(t)
	cache := b.home(t, "cache")
	var i image
	var host string
	m := b.mount(t, cache)
	t.Run("while the registry is there", func(t *testing.T) { // and it ends with this
		r := registrytest.Start(t, registrytest.Options{})
		host = r.Host()
		i = b.push(t, r, "a", registrytest.ImageSpec{Layers: []int64{2 << 20, 1000}})
		for _, path := range []string{m.in(i.dir, "image.tar"), m.in(host, "a", "digests", i.digest.String(), "image.tar")} {
			b.must(t, "cat", path)
		}
		b.must(t, "ls", m.in(host, "a", "tags"))
	})
	m.stop(t)

	byDigest := m.in(host, "a", "digests", i.digest.String())
	t.Run("by digest", func(t *testing.T) {
		m.start(t)
		defer m.stop(t)
		if o := b.must(t, "cat", byDigest+"/manifest.json"); o.sum != i.digest.Hex {
			t.Errorf("manifest.json: %v", o)
		}
		b.must(t, "cat", byDigest+"/image.tar")
		if got := b.output(t, "ls", m.in(host, "a", "digests")); !strings.Contains(got, i.digest.String()) {
			t.Errorf("digests lists %q", got)
		}
	})
	t.Run("by tag, which was confirmed a moment ago", func(t *testing.T) {
		m.flags = []string{"--tag-ttl", "0s"}
		m.start(t)
		defer m.stop(t)
		if o := b.run("cat", m.in(i.dir, "image.tar")); !i.isIt(o) {
			t.Errorf("a tag that cannot be asked for: %v", o)
		}
	})
	t.Run("by tag, which has to be asked for again", func(t *testing.T) {
		m.flags = []string{"--tag-ttl", "0s", "--stale-if-error", "0s"}
		m.start(t)
		defer m.stop(t)
		if o := b.run("cat", m.in(i.dir, "image.tar")); o.err == nil || !strings.Contains(o.said, "Connection refused") {
			t.Errorf("a tag that may have moved: %v", o)
		}
	})
	t.Run("by tag, offline", func(t *testing.T) {
		m.flags = []string{"--tag-ttl", "0s", "--list-ttl", "0s", "--offline"}
		m.start(t)
		defer m.stop(t)
		if o := b.run("cat", m.in(i.dir, "image.tar")); !i.isIt(o) {
			t.Errorf("a tag: %v", o)
		}
		if got := b.output(t, "ls", m.in(host, "a", "tags")); got != "1\n" {
			t.Errorf("tags lists %q", got)
		}
		if o := b.run("cat", m.in(host, "a", "tags", "2", "digest")); o.err == nil {
			t.Errorf("a tag that was never asked for: %v", o)
		}
	})
}
