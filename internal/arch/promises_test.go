package arch

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise is a list item's first sentence, in bold.
var (
	promisePattern = regexp.MustCompile(`(?m)^- \*\*((?:[^*]|\n)+)\*\*`)
	commentMark    = regexp.MustCompile(`(?m)^\s*(?://|#)\s*`)
	whiteSpace     = regexp.MustCompile(`\s+`)
)

// TestPromisesAreTested: each promise of docs/semantics.md is quoted, to the
// letter, where a test or script holds it.
func TestPromisesAreTested(t *testing.T) {
	page, err := os.ReadFile("../../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	promises := promisePattern.FindAllSubmatch(page, -1)
	if len(promises) < 20 {
		t.Fatalf("only %d promises found", len(promises))
	}
	var tests strings.Builder
	err = filepath.WalkDir("../..", func(path string, d iofs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") {
			return err
		}
		b, err := os.ReadFile(path)
		tests.WriteString(whiteSpace.ReplaceAllString(commentMark.ReplaceAllString(string(b), " "), " "))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range promises {
		promise := whiteSpace.ReplaceAllString(string(p[1]), " ")
		if !strings.Contains(tests.String(), `"`+promise+`"`) {
			t.Errorf("no test quotes %q", promise)
		}
	}
}
