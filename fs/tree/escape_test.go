package tree

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEscaped(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":"plain, größe, 日本, 👍"}`:   `{"a":"plain, größe, 日本, 👍"}`,
		"{\n\t\"a\": 1\n}\n":            "{\n\t\"a\": 1\n}\n",
		"\"\u202etxt.exe\"":             `"\u202etxt.exe"`,
		"\"\u200e\u200f\u061c\u2066\"":  `"\u200e\u200f\u061c\u2066"`,
		"\"\u009b2J\u0085\u007f\"":      `"\u009b2J\u0085\u007f"`,
		"\"\u2028\u2029\"":              `"\u2028\u2029"`,
		"\"\x9b2J\xff\"":                `"\ufffd2J\ufffd"`,
		"\"\ufffd\"":                    "\"\ufffd\"",
		`"\\` + "\u202e" + `"`:          `"\\\u202e"`,
		`"\u202e\\u202e"`:               `"\u202e\\u202e"`,
		"{\"\u202ekey\":\"a\u200eb\"}":  `{"\u202ekey":"a\u200eb"}`,
		"\"emoji \u2764\ufe0f\u200d🔥\"": "\"emoji \u2764\ufe0f\u200d🔥\"",
	} {
		got := escaped([]byte(text))
		if string(got) != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
		if got := masked([]byte(text)); len(got) > len(text) || strings.ContainsFunc(string(got), func(r rune) bool { return r >= ' ' && actsOnTerminal(r) }) {
			t.Errorf("%q masked is %q", text, got)
		}
	}
}

// Whatever is escaped is the same value, and shows as it is.
func FuzzEscaped(f *testing.F) {
	for _, seed := range []string{`{"a":["b",1,null]}`, "\"\u202e\"", "\"\\\\\u009b\"", "\"\xff\\\"\"", "{\"\u2066\":\"\u2069\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var before, after any
		if json.Unmarshal(text, &before) != nil {
			return
		}
		got := escaped(text)
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		a, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(after); err != nil || string(a) != string(b) {
			t.Errorf("%q became %q, which is another value: %v", text, got, err)
		}
		for _, text := range []string{string(got), string(masked(text))} {
			if strings.ContainsFunc(text, func(r rune) bool { return r >= ' ' && actsOnTerminal(r) }) {
				t.Errorf("%q is not safe to show", text)
			}
		}
		if len(masked(text)) > len(text) {
			t.Errorf("%q became longer", text)
		}
	})
}
