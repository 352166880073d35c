package docs

import (
	"reflect"
	"strings"
	"testing"
)

// page is text with fences; Go has no way to write "`" in a raw string.
func page(s string) string { return strings.ReplaceAll(s, "'''", "```") }

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		name, page string
		want       []Block
		fails      string
	}{
		{"none", "text\n", nil, ""},
		{"a block", "one\n\n'''sh\nls\n'''\n", []Block{{Line: 3, Language: "sh", Text: "ls\n"}}, ""},
		{"two", "'''text\na\n\nb\n'''\n'''console\n$ ls\n'''", []Block{
			{Line: 1, Language: "text", Text: "a\n\nb\n"}, {Line: 6, Language: "console", Text: "$ ls\n"},
		}, ""},
		{"in a list", "- item\n  '''sh\n  if a; then\n    b\n  fi\n  '''\n", []Block{
			{Line: 2, Language: "sh", Text: "if a; then\n  b\nfi\n"},
		}, ""},
		{"one that needs something", "<!-- needs: jq podman -->\n'''sh\nls\n'''\n'''sh\nls\n'''\n", []Block{
			{Line: 2, Language: "sh", Text: "ls\n", Needs: []string{"jq", "podman"}}, {Line: 5, Language: "sh", Text: "ls\n"},
		}, ""},
		{"one that is not run", "<!-- not run: it needs systemd -->\n'''sh\nls\n'''\n", []Block{
			{Line: 2, Language: "sh", Text: "ls\n", NotRun: "it needs systemd"},
		}, ""},
		{"an example of a mark", "'''text\n<!-- not run: no -->\n'''\n", []Block{
			{Line: 1, Language: "text", Text: "<!-- not run: no -->\n"},
		}, ""},
		{"no language", "'''\nls\n'''\n", nil, `line 1: a block of "" is neither`},
		{"another language", "\n'''bash\nls\n'''\n", nil, `line 2: a block of "bash" is neither`},
		{"no end", "'''sh\nls\n", nil, "line 1: the block has no end"},
		{"a mark above text", "<!-- needs: jq -->\n\n'''sh\nls\n'''\n", nil, "line 1: the mark is above no block"},
		{"a mark without a reason", "<!-- not run: -->\n'''sh\nls\n'''\n", nil, "line 1: the mark says nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Blocks(page(c.page))
			switch {
			case c.fails == "" && err != nil, c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("error %v, want %q", err, c.fails)
			case !reflect.DeepEqual(got, c.want):
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name, language, text string
		want                 []Step
		fails                bool
	}{
		{"a script", "sh", "ls\nls\n", []Step{{Command: "ls\nls\n"}}, false},
		{"a command", "console", "$ ls\na\nb\n", []Step{{"ls\n", true, "a\nb\n"}}, false},
		{"two", "console", "$ ls\n$ cat a\nb\n", []Step{{"ls\n", true, ""}, {"cat a\n", true, "b\n"}}, false},
		{"of several lines", "console", "$ for a in 1; do\n>   echo $a\n> done\n1\n> 2\n", []Step{
			{"for a in 1; do\n  echo $a\ndone\n", true, "1\n> 2\n"},
		}, false},
		{"an output with a dollar", "console", "$ ls\n$HOME\n", []Step{{"ls\n", true, "$HOME\n"}}, false},
		{"no command", "console", "a\n$ ls\n", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Block{Language: c.language, Text: c.text}.Steps()
			if (err != nil) != c.fails || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v %v, want %+v", got, err, c.want)
			}
		})
	}
}
