package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLegible: a name in an image cannot tell a terminal what to do.
func TestLegible(t *testing.T) {
	for text, want := range map[string]string{
		"plain name": "plain name", "größe ☃": "größe ☃", "a\x1b]0;title\x07b": "a?]0;title?b", "line\nline": "line?line",
		"c1\u009b31m": "c1?31m", "\u202etxt.exe": "?txt.exe",
	} {
		if got := legible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := legible("\xff\x9bx"); !utf8.ValidString(got) || !strings.HasSuffix(got, "x") {
		t.Errorf("bytes that are no UTF-8 are shown as %q", got)
	}
	if got, want := explain(errors.New("write \x1b[2J\r\n  try again")), "write ?[2J?\n  try again"; got != want {
		t.Errorf("an error is told as %q, want %q", got, want)
	}
	if got := (sink{&bytes.Buffer{}}).name("a\x1bb"); got != "a\x1bb" {
		t.Errorf("a program gets %q", got)
	}
}
