package docs

import "testing"

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name, want, got string
		match           bool
	}{
		{"the same", "a\nb\n", "a\nb\n", true},
		{"another", "a\n", "b\n", false},
		{"more", "a\n", "a\nb\n", false},
		{"less", "a\nb\n", "a\n", false},
		{"nothing", "", "", true},
		{"something where nothing is shown", "", "a\n", false},
		{"nothing where something is shown", "a\n", "", false},
		{"no newline at its end", "a\n", "a", true},
		{"empty lines at its end", "a\n", "a\n\n\n", true},
		{"an empty line inside", "a\nb\n", "a\n\nb\n", false},
		{"white space at the end of a line", "a\n", "a  \n", true},
		{"white space at its beginning", "a\n", " a\n", false},
		{"a part of a line", "sha256:…  file\n", "sha256:12  file\n", true},
		{"a part that is empty", "a…\n", "a\n", true},
		{"no part of two lines", "a…b\n", "a\nb\n", false},
		{"lines", "a\n…\nd\n", "a\nb\nc\nd\n", true},
		{"no lines", "a\n…\nd\n", "a\nd\n", true},
		{"lines at the end", "a\n…\n", "a\nb\nc\n", true},
		{"lines at the beginning", "…\nc\n", "a\nb\nc\n", true},
		{"anything", "…\n", "", true},
		{"what a pattern would take", "a.c (x)\n", "abc x\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Match(c.want, c.got); got != c.match {
				t.Errorf("Match(%q, %q) is %v", c.want, c.got, got)
			}
		})
	}
}
