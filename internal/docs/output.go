package docs

import (
	"regexp"
	"strings"
)

// Match says whether an output is what a page shows of it. There "…" stands for
// anything: in a line for the rest of it or a part, by itself for any number of
// lines. White space at the end of lines, and empty lines at the end, are not
// compared.
func Match(want, got string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(trimmed(want)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		for i, part := range strings.Split(line, "…") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(trimmed(got))
}

// trimmed is a text of lines without what is not compared.
func trimmed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	text = strings.TrimRight(strings.Join(lines, "\n"), "\n")
	if text == "" {
		return ""
	}
	return text + "\n"
}
