package tree

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// actsOnTerminal says whether a terminal does something with a character, or puts what
// follows elsewhere than where it is: the controls of ASCII and those after it, the
// marks that reverse a line, and those that end one.
func actsOnTerminal(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// escaped is the same JSON value in text that can be shown on a terminal. JSON itself
// wants only the controls of ASCII escaped; a history line comes from whoever built
// the image. Bytes that are no UTF-8 are U+FFFD, as all who parse it have them.
func escaped(text []byte) []byte {
	return rewritten(text, func(r rune) string { return fmt.Sprintf(`\u%04x`, r) })
}

// masked is JSON text that is no longer than what it was, with "?" in place of what
// [escaped] escapes.
func masked(text []byte) []byte {
	return rewritten(text, func(rune) string { return "?" })
}

// rewritten is JSON text in which each character that acts on a terminal is another
// text. Such characters are in strings alone, but for tabs and line feeds, which are
// between the others.
func rewritten(text []byte, as func(rune) string) []byte {
	b := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r >= ' ' && actsOnTerminal(r) || r == utf8.RuneError && n == 1 {
			b = append(b, as(r)...)
		} else {
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}
