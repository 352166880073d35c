package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLinksAndAnchors(t *testing.T) {
	text := page("# A `page`, of two\n[a](b.md) and [c](#d), `[e](f)`\n'''sh\n# no heading\n[g](h)\n'''\n## Second-hand\n")
	if got := Links(text); !slices.Equal(got, []string{"b.md", "#d"}) {
		t.Errorf("links %q", got)
	}
	if got := Anchors(text); !slices.Equal(got, []string{"a-page-of-two", "second-hand"}) {
		t.Errorf("anchors %q", got)
	}
}

// TestLinksLead: each link to a file of ours leads to one that is there, and to a
// heading in it.
func TestLinksLead(t *testing.T) {
	pages, err := Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range pages {
		text := read(t, name)
		for _, link := range Links(text) {
			if strings.Contains(link, "://") {
				continue
			}
			checked++
			path, anchor, _ := strings.Cut(link, "#")
			to, target := name, text
			if path != "" {
				to = filepath.Join(filepath.Dir(name), path)
				target = read(t, to)
			}
			if anchor != "" && !slices.Contains(Anchors(target), anchor) {
				t.Errorf("%s: %s has no heading for #%s", name, to, anchor)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d links found", checked)
	}
}

// read returns a file; one that is not there is what a link should not lead to.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
