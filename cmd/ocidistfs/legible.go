package main

import (
	"strings"
	"unicode"
)

// legible is text without what tells a terminal to do something: files in images have any
// names that somebody likes. Each such character is a question mark, as of ls(1).
func legible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// legibleLines is legible for text that may have several lines.
func legibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		lines[n] = legible(strings.ReplaceAll(line, "\t", " "))
	}
	return strings.Join(lines, "\n")
}

// name is a name as it is written there: legible for people, and as it is for programs.
func (s sink) name(text string) string {
	if isTerminal(s.w) {
		return legible(text)
	}
	return text
}
