package docs

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	markupPattern  = regexp.MustCompile("[`*]")
	fencesPattern  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codePattern    = regexp.MustCompile("`[^`\n]*`")
)

// Links returns where the links of a page lead, code left out.
func Links(page string) []string {
	var to []string
	for _, m := range linkPattern.FindAllStringSubmatch(codePattern.ReplaceAllString(fencesPattern.ReplaceAllString(page, ""), ""), -1) {
		to = append(to, m[1])
	}
	return to
}

// Anchors returns what a link to a page can have after "#": its headings, in lower
// case, with "-" for blanks and without punctuation, as hosting sites make them.
func Anchors(page string) []string {
	var anchors []string
	for _, m := range headingPattern.FindAllStringSubmatch(fencesPattern.ReplaceAllString(page, ""), -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, markupPattern.ReplaceAllString(m[1], "")))
	}
	return anchors
}
