// Package arch holds the code to what docs/design.md says of its structure.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ocidistfs/ocidistfs"

// mayImport is the direction in which imports run, as the table in
// docs/design.md has it. What only tests need is not in it, and may import all.
var mayImport = map[string][]string{
	"cmd/ocidistfs": {"fs", "fs/tree", "fs/imagetar", "registry", "cache"},
	"fs":            {"fs/tree", "registry", "cache"},
	"fs/tree":       {"fs/imagetar", "fs/rootfs", "fs/readat", "registry", "cache"},
	"fs/imagetar":   {"fs/readat"},
	"fs/rootfs":     {"fs/readat"},
	"fs/readat":     {},
	"registry":      {},
	"cache":         {},
}

// onlyFor says which packages alone may import something of others.
var onlyFor = map[string][]string{
	"github.com/hanwen/go-fuse/v2":     {"fs"},
	"github.com/alecthomas/kingpin/v2": {"cmd/ocidistfs"},
	"net/http":                         {"registry", "cmd/ocidistfs", "fs"},          // fs for the names of statuses
	"os":                               {"cache", "cmd/ocidistfs", "fs", "registry"}, // registry for credentials
}

// forTests are the directories that are no part of the program.
func forTests(dir string) bool {
	return dir == "internal" || strings.HasPrefix(dir, "internal/") || dir == "registry/registrytest"
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// packages lists the module's packages.
func packages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"/...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	if len(found) < len(mayImport) {
		t.Fatalf("only %d packages found", len(found))
	}
	return found
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		dir := strings.TrimPrefix(p.ImportPath, module+"/")
		if forTests(dir) {
			continue
		}
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("%s is not in docs/design.md", dir)
		}
		for _, path := range p.Imports {
			if ours, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", dir, ours)
			}
			for theirs, users := range onlyFor {
				if (path == theirs || strings.HasPrefix(path, theirs+"/")) && !slices.Contains(users, dir) {
					t.Errorf("%s imports %s", dir, path)
				}
			}
		}
	}
}

var (
	rowPattern = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|\n]*\\|([^|\n]*)\\|$")
	dirPattern = regexp.MustCompile("`([^`]+)`")
)

// TestDesignHasTheTable keeps the page and the table above the same.
func TestDesignHasTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string][]string{}
	for _, row := range rowPattern.FindAllStringSubmatch(string(page), -1) {
		if forTests(row[1]) {
			continue
		}
		imports := []string{}
		for _, dir := range dirPattern.FindAllStringSubmatch(row[2], -1) {
			imports = append(imports, dir[1])
		}
		written[row[1]] = imports
	}
	for dir, imports := range mayImport {
		said, ok := written[dir]
		if !ok {
			t.Errorf("docs/design.md does not say where %s is", dir)
			continue
		}
		if slices.Sort(said); !slices.Equal(said, slices.Sorted(slices.Values(imports))) {
			t.Errorf("docs/design.md says that %s imports %q; it may import %q", dir, said, imports)
		}
		delete(written, dir)
	}
	for dir := range written {
		t.Errorf("docs/design.md has a row for %s, which nothing is known of", dir)
	}
}

// maxLines is where a file holds two nouns.
const maxLines = 400

func TestFilesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(b, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines", p.ImportPath, name, n)
			}
		}
	}
}
