//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/docs"
)

// TestDocs runs what the documentation tells its reader to type, a page from its
// top to its end in one shell, and compares what the pages show of the output.
func TestDocs(t *testing.T) {
	switch ok, err := scriptCondition("fuse"); {
	case err != nil:
		t.Fatal(err)
	case !ok:
		t.Skip("file systems cannot be mounted here")
	}
	pages, err := docs.Pages("../..")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%q %v", pages, err)
	}
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := docs.Blocks(string(page))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			testPage(t, path, blocks)
		})
	}
}

// testPage has a subtest for each block. The first that fails ends the page, as it
// would for a reader.
func testPage(t *testing.T, path string, blocks []docs.Block) {
	blocks = slices.DeleteFunc(blocks, func(b docs.Block) bool { return !b.Commands() })
	if len(blocks) == 0 {
		return
	}
	s := startDocsShell(t, startDocsHub(t), filepath.Dir(path) == "../..")
	for _, b := range blocks {
		if !t.Run(blockName(b), func(t *testing.T) {
			if why := whyNotRun(t, b); why != "" {
				t.Skipf("%s:%d: not run: %s", path, b.Line, why)
			}
			steps, err := b.Steps()
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			for _, step := range steps {
				said, code, err := s.run(step.Command, b.Language == "sh")
				switch {
				case err != nil:
					t.Fatalf("%s:%d: %v\n%s\n%s", path, b.Line, err, step.Command, said)
				case step.Compared && !docs.Match(step.Want, said):
					t.Fatalf("%s:%d: $ %s\nsaid:\n%s\nwant:\n%s", path, b.Line, step.Command, said, step.Want)
				case code != 0 && strings.Trim(step.Want, "…\n") == "": // nothing shows that it should
					t.Fatalf("%s:%d: exit code %d\n%s\n%s", path, b.Line, code, step.Command, said)
				}
			}
		}) {
			return
		}
	}
	if left, _, err := s.run("grep ' - fuse.ocidistfs ' /proc/self/mountinfo", false); err != nil || left != "" {
		t.Errorf("%s leaves its reader with mounts: %s %v", path, left, err)
	}
}

// blockName is what a block begins with, for -run and for who reads the list.
func blockName(b docs.Block) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(b.Text, "$ "), "\n")
	return strings.Join(strings.FieldsFunc(first, func(r rune) bool { return r == ' ' || r == '/' }), "_")
}

// whyNotRun says why a block is not run; "" is that it is.
func whyNotRun(t *testing.T, b docs.Block) string {
	switch {
	case b.NotRun != "":
		return b.NotRun
	case len(b.Needs) > 0 && os.Getenv(docsVariable) == "":
		return "it needs " + strings.Join(b.Needs, ", ") + "; make docs runs it"
	}
	for _, program := range b.Needs {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("line %d needs %s", b.Line, program)
			}
			return program + " is missing"
		}
	}
	return ""
}
