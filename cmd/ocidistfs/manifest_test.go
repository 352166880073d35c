package main

import (
	"bytes"
	"testing"
)

func TestWriteIndented(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"order and escapes", `{"b":1,"a":"\u003c\/<&"}`, "{\n\t\"b\": 1,\n\t\"a\": \"\\u003c\\/<&\"\n}\n"},
		{"numbers", `{"size":1e3,"big":12345678901234567890}`, "{\n\t\"size\": 1e3,\n\t\"big\": 12345678901234567890\n}\n"},
		{"a key twice", `{"a":1,"a":2}`, "{\n\t\"a\": 1,\n\t\"a\": 2\n}\n"},
		{"indented before", "{\n   \"a\": []\n}\n\n", "{\n\t\"a\": []\n}\n"},
		{"no JSON", "<html>", "<html>\n"},
		{"half of it", `{"a":`, "{\"a\":\n"},
		{"nothing", "", "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := writeIndented(&out, []byte(c.in)); err != nil || out.String() != c.want {
				t.Errorf("%q, %v", &out, err)
			}
		})
	}
}
