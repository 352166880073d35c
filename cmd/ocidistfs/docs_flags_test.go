package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/internal/docs"
)

// docsVariable says that the blocks which need more than Go, root and /dev/fuse
// are to run too; make docs sets it.
const docsVariable = "OCIDISTFS_DOCS"

var (
	// A call goes to the end of its line, or to where another command begins; what
	// a backslash breaks is one line.
	callPattern = regexp.MustCompile("\\bocidistfs ([a-z]+)\\b([^|;&`\n]*)")
	flagPattern = regexp.MustCompile(`(?:^|[\s=])--([a-z][a-z-]*)`)
	// In text, code that begins with a flag speaks of ours.
	spokenPattern   = regexp.MustCompile("`--([a-z][a-z-]*)[^`]*`")
	quotedPattern   = regexp.MustCompile(`"(OCIDISTFS_(?:BENCH|CHAOS|DOCS|INTEROP|MANNERS|ROOTFS|TEST)[A-Z_]*)"`)
	variablePattern = regexp.MustCompile(`\bOCIDISTFS_[A-Z_]+\b`)
)

// TestDocsNameWhatExists: each command, flag and variable of the program that the
// documentation names is one.
func TestDocsNameWhatExists(t *testing.T) {
	model := newApplication(streams{}).kingpin.Model()
	commands := map[string][]string{} // the names of each one's flags
	variables := suiteVariables(t)
	global := namesOf(model.Flags)
	every := slices.Clone(global)
	for _, c := range model.Commands {
		flags := namesOf(c.Flags)
		for _, sub := range c.Commands {
			flags = append(flags, namesOf(sub.Flags)...)
		}
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			commands[name] = append(flags, global...)
		}
		every = append(every, flags...)
		for _, flag := range flags {
			variables = append(variables, variable(flag))
		}
	}
	pages, err := docs.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, path := range pages {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := strings.ReplaceAll(string(b), "\\\n", " ")
		for _, call := range callPattern.FindAllStringSubmatch(page, -1) {
			flags, ok := commands[call[1]]
			if !ok {
				continue // words about the program
			}
			calls++
			for _, flag := range flagPattern.FindAllStringSubmatch(call[2], -1) {
				if !slices.Contains(flags, strings.TrimPrefix(flag[1], "no-")) && !slices.Contains(flags, flag[1]) {
					t.Errorf("%s: %s: %s has no --%s", path, strings.TrimSpace(call[0]), call[1], flag[1])
				}
			}
		}
		for _, flag := range spokenPattern.FindAllStringSubmatch(page, -1) {
			if !slices.Contains(every, flag[1]) {
				t.Errorf("%s: no command has --%s", path, flag[1])
			}
		}
		for _, name := range variablePattern.FindAllString(page, -1) {
			if !slices.Contains(variables, name) {
				t.Errorf("%s: %s stands for no flag", path, name)
			}
		}
	}
	if calls < 20 {
		t.Errorf("only %d calls found", calls)
	}
}

// suiteVariables are the variables that a suite is run by: those that the source
// of a test names.
func suiteVariables(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*_test.go", "../../internal/*/*_test.go", "../../fs/rootfs/*_test.go"} {
		sources, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			b, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, quoted := range quotedPattern.FindAllStringSubmatch(string(b), -1) {
				names = append(names, quoted[1])
			}
		}
	}
	return names
}

func namesOf(flags []*kingpin.FlagModel) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Name)
	}
	return names
}
