package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/internal/artifacts"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// listingHost is where the listings are from: sizes follow from the name, and the
// fixture's own has a port.
const listingHost = "registry.example.com"

// TestListing: each kind of content shows what its golden file has: everything below
// its image directory, with sizes and targets, and what that was asked for. After a
// change, go test ./fs/tree -run Listing -update writes them: read each then.
func TestListing(t *testing.T) {
	for _, c := range []struct{ name, platform string }{
		{"", "linux/amd64"},
		{"buildkit", "linux/arm64"},
		{"nested", "linux/arm64"},
		{"variants", "linux/arm/v7"},
		{"windows", "linux/arm64"},
		{"windows", "windows/amd64"},
	} {
		for _, content := range artifacts.All() {
			name := content.Name
			switch {
			case c.name == name:
				name += "-" + strings.ReplaceAll(c.platform, "/", "-")
			case c.name != "":
				continue
			}
			t.Run(name, func(t *testing.T) {
				got := newListing(t, content, c.platform).String()
				path := filepath.Join("testdata", "listing", name+".golden")
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is not what there is:\n%s", path, differing(string(want), got))
				}
			})
		}
	}
}

// A listing is all that is below an image directory.
type listing struct {
	*fixture
	asked   []string // what the registry was asked, by when
	lines   []string
	reports []string
	files   []string // the paths of all files in the tree
}

// newListing lists the image directory of some content as often as it takes to know
// what a walk costs, what another one costs, and what it costs to read it all.
func newListing(t *testing.T, content *artifacts.Fixture, platform string) *listing {
	t.Helper()
	// Where a client keeps the list of what refers to an image, the registry has none.
	_, listed := content.Tags[strings.Replace(content.Digest.String(), ":", "-", 1)]
	l := &listing{fixture: newFixture(t, registrytest.Options{NoReferrers: listed})}
	// The registry takes itself for any host's.
	proxy, err := url.Parse(l.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := registry.NewClient(registry.Options{
		Keychain: authn.NewMultiKeychain(), Retries: -1, Proxy: proxy, Insecure: []string{listingHost},
	})
	t.Cleanup(client.Close)
	l.tree = l.newTreeWith(platform, func(opts *Options) {
		opts.Client = client
		opts.Report = func(path string, err error) {
			l.reports = append(l.reports, fmt.Sprintf("%s: %v", path, err))
		}
	})
	repository := "some/" + content.Name
	content.Put(l.server, repository)
	top := listingHost + "/" + repository + "/tags/" + artifacts.Tag
	l.walk(top, "")
	l.count("to list it and look at each")
	first := l.lines
	l.lines, l.files = nil, nil
	l.walk(top, "")
	l.count("to do so again")
	if !slices.Equal(l.lines, first) {
		t.Errorf("the second listing is another:\n%s", differing(strings.Join(first, "\n"), strings.Join(l.lines, "\n")))
	}
	for _, path := range l.files {
		l.check(path)
	}
	l.count("to read every file")
	return l
}

func (l *listing) add(kind string, size any, shows string) {
	l.lines = append(l.lines, fmt.Sprintf("%s %10v  %s", kind, size, shows))
}

// walk adds a line for each entry of the directory at a path, and of those below it.
// below is what is before their names.
func (l *listing) walk(at, below string) {
	l.t.Helper()
	child, err := walk(l.t.Context(), l.tree, at)
	if err != nil {
		l.t.Fatalf("look up %s: %v", at, err)
	}
	dir, ok := child.Node.(Dir)
	if !ok {
		l.t.Fatalf("%s is a %T, and no directory", at, child.Node)
	}
	for e, err := range dir.List(l.t.Context()) {
		if err != nil {
			l.add("?", "", below+" "+err.Error())
			return
		}
		l.entry(at, below, e)
	}
}

// entry adds the line of what is listed as e, and of all below it.
func (l *listing) entry(at, below string, e Entry) {
	l.t.Helper()
	path, shows := at+"/"+e.Name, below+e.Name
	child, err := walk(l.t.Context(), l.tree, path)
	if err != nil {
		l.t.Fatalf("look up %s, which is listed: %v", path, err)
	}
	attr, err := child.Node.Attr(l.t.Context())
	if err != nil {
		l.t.Fatalf("stat %s: %v", path, err)
	}
	if attr.Mode.Type() != e.Mode || attr.Ino != e.Ino {
		l.t.Errorf("%s is listed as %s, inode %d, and is %s, inode %d", path, e.Mode, e.Ino, attr.Mode, attr.Ino)
	}
	switch node := child.Node.(type) {
	case Dir:
		l.add("d", "", shown(shows)+"/")
		l.walk(path, shows+"/")
	case File:
		l.add("f", attr.Size, shown(shows))
		l.files = append(l.files, path)
	case Link:
		target, err := node.Target(l.t.Context())
		if err != nil {
			l.t.Fatalf("read the link %s: %v", path, err)
		}
		if attr.Size != int64(len(target)) {
			l.t.Errorf("%s has %d bytes, its target %d", path, attr.Size, len(target))
		}
		l.add("l", attr.Size, shown(shows)+" -> "+target)
		// What refers to the image itself is shown too; what refers to that is not, or
		// there were no end.
		if shows == referrersName {
			l.behind(filepath.Join(at, target), shows+"/")
		}
	default:
		l.t.Errorf("%s is a %T", path, node)
	}
}

// behind adds what is at the end of a link.
func (l *listing) behind(at, below string) {
	l.t.Helper()
	if !strings.HasPrefix(at, listingHost+"/") {
		l.t.Fatalf("%s leads out of the tree, to %s", below, at)
	}
	if _, err := walk(l.t.Context(), l.tree, at); err != nil {
		l.add("?", "", below+" "+err.Error())
		return
	}
	l.walk(at, below)
}

// check reads a file: it is as long as it says, and where its digest is known, that
// is what it has.
func (l *listing) check(path string) {
	l.t.Helper()
	child, err := walk(l.t.Context(), l.tree, path)
	if err != nil {
		l.t.Fatal(err)
	}
	open, err := child.Node.(File).Open(l.t.Context())
	if err != nil {
		l.t.Errorf("open %s: %v", path, err)
		return
	}
	defer func() { _ = open.Close() }() // it was read
	attr, err := child.Node.Attr(l.t.Context())
	if err != nil || attr.Size != open.Size() {
		l.t.Errorf("%s has %d bytes, and %d when it is open: %v", path, attr.Size, open.Size(), err)
	}
	sum := sha256.Sum256(readAll(l.t, open))
	described, ok := child.Node.(Described)
	if !ok {
		l.t.Errorf("nothing describes %s", path)
		return
	}
	d, err := described.Describe(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	switch none := (registry.Digest{}); {
	case d.Digest != none && d.Digest.Hex != hex.EncodeToString(sum[:]):
		l.t.Errorf("%s is sha256:%x, and described as %s", path, sum, d.Digest)
	case d.Digest == none && d.Manifest == none:
		l.t.Errorf("%s follows from nothing", path)
	}
}

// count adds what the registry was asked since the last call.
func (l *listing) count(when string) {
	kinds := map[registrytest.Kind]int{}
	for _, r := range l.server.Requests() {
		// What it is asked as a proxy is no request to a registry.
		if r.Method != http.MethodConnect {
			kinds[r.Kind]++
		}
	}
	l.server.Forget()
	var said []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		said = append(said, fmt.Sprintf("%s %d", kind, kinds[kind]))
	}
	if said == nil {
		said = []string{"nothing"}
	}
	l.asked = append(l.asked, fmt.Sprintf("asked %s: %s", when, strings.Join(said, ", ")))
}

func (l *listing) String() string {
	reports := slices.Compact(slices.Sorted(slices.Values(l.reports)))
	for i, r := range reports {
		reports[i] = "reported " + r
	}
	return strings.Join(slices.Concat(l.asked, reports, l.lines), "\n") + "\n"
}

// shown is a path as a terminal can show it.
func shown(path string) string {
	if quoted := strconv.Quote(path); quoted[1:len(quoted)-1] != path {
		return quoted
	}
	return path
}

// differing are the lines that only one of two texts has.
func differing(want, got string) string {
	lines := func(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }
	var b strings.Builder
	for _, line := range lines(want) {
		if !slices.Contains(lines(got), line) {
			fmt.Fprintln(&b, "-", line)
		}
	}
	for _, line := range lines(got) {
		if !slices.Contains(lines(want), line) {
			fmt.Fprintln(&b, "+", line)
		}
	}
	if b.Len() == 0 {
		return "the lines are in another order"
	}
	return b.String()
}
