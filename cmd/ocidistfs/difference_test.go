package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/cache"
)

func TestFieldsOf(t *testing.T) {
	for _, c := range []struct{ name, document, want string }{
		{"none", ``, ""},
		{"no object", `[1]`, ""},
		{"kinds", `{"a":"x","b":1e3,"c":true,"d":null,"e":["x", "y"],"f":{"g":"h","i":{}}}`,
			`a=x b=1e3 c=true e=["x", "y"] f.g=h f.i={}`},
		{"variables", `{"config":{"Env":["PATH=/bin","EMPTY=","BARE"],"Cmd":["a"]}}`, `config.Cmd=["a"] config.Env.BARE= config.Env.EMPTY= config.Env.PATH=/bin`},
		{"what is no list of variables", `{"config":{"Env":[1]}}`, `config.Env=[1]`},
		{"left out", `{"history":[1],"config":{"history":1}}`, `config.history=1`},
		{"deep", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
			strings.Repeat("a.", maxNested-1) + "a=" + strings.Repeat(`{"a":`, 100-maxNested) + "1" + strings.Repeat("}", 100-maxNested)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for name, value := range fieldsOf([]byte(c.document), "history") {
				got = append(got, name+"="+value)
			}
			slices.Sort(got)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
		})
	}
}

// FuzzDifference: whatever registries serve as manifests and configs can be compared,
// and what is the same differs in nothing.
func FuzzDifference(f *testing.F) {
	f.Add([]byte(`{"config":{"Env":["A=1"],"Cmd":null},"history":[{"created_by":"x"}],"rootfs":{"diff_ids":["a"]}}`), []byte(`{"config":{"digest":"a"},"layers":[{"digest":"a"}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"a","platform":{"os":"linux","architecture":"arm","variant":"v7"}},{"platform":{}}]}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, pair := range [][2][]byte{{a, b}, {a, a}} {
			var c comparison
			var documents [2]manifestDocument
			var ids [2][]string
			for i, raw := range pair {
				var err error
				if documents[i], err = documentOf(cache.Manifest{Bytes: raw}); err != nil {
					return
				}
				ids[i] = diffIDsOf(raw)
			}
			c.Manifest = changed(fieldsOf(pair[0]), fieldsOf(pair[1]))
			c.Platforms = changed(documents[0].platforms(), documents[1].platforms())
			c.History = changedLines(historyOf(pair[0]), historyOf(pair[1]))
			c.Layers = comparedLayers(documents[0].Layers, documents[1].Layers, ids)
			if n := len(c.Manifest) + len(c.Platforms) + len(c.History) + len(c.Layers.From) + len(c.Layers.To); n > 0 && string(pair[0]) == string(pair[1]) {
				t.Errorf("%s differs from itself: %+v", pair[0], c)
			}
			var text strings.Builder
			if err := c.write(&text); err != nil || strings.ContainsAny(text.String(), "\x00\x1b\x7f\r") {
				t.Errorf("%q, %v", text.String(), err)
			}
		}
	})
}

func said(changes []change) string {
	var b strings.Builder
	part(&b, "", changes)
	return strings.Join(strings.Split(strings.TrimSpace(b.String()), "\n"), "|")
}

func TestChanged(t *testing.T) {
	for _, c := range []struct {
		from, to fields
		want     string
	}{
		{fields{}, fields{}, ""},
		{fields{"a": "1"}, fields{"a": "1"}, ""},
		{fields{"a": "1", "b": "2", "d": ""}, fields{"a": "1", "b": "3", "c": "4"}, "- b 2|+ b 3|+ c 4|- d"},
		{fields{"a": "x\x1b[31m"}, fields{"a": "\u202ex"}, `- a "x\x1b[31m"|+ a "\u202ex"`},
		{fields{"a": "x\x9b31m"}, fields{"a": "ä"}, `- a "x\x9b31m"|+ a ä`},
	} {
		if got := said(changed(c.from, c.to)); got != c.want {
			t.Errorf("%v %v: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestChangedLines(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a b c", "a b c", ""},
		{"a b c", "a x c", "- b|+ x"},
		{"a b c d", "a c d e", "- b|+ e"},
		{"a b", "b a", "- a|+ a"},
		{"a a a", "a a", "- a"},
		{"", "a", "+ a"},
		{"x a y b z", "a p b q", "- x|- y|+ p|- z|+ q"},
	} {
		if got := said(changedLines(strings.Fields(c.from), strings.Fields(c.to))); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
	// What is too long to find the order in is told all the same, and soon.
	var from, to []string
	for i := range 100_000 {
		from, to = append(from, fmt.Sprint(i)), append(to, fmt.Sprint(-i-1))
	}
	if n := len(changedLines(from, to)); n != len(from)+len(to) {
		t.Errorf("%d lines", n)
	}
}

func TestComparedLayers(t *testing.T) {
	layers := func(words string) (all []blobDescriptor) {
		for i, word := range strings.Fields(words) {
			all = append(all, blobDescriptor{Digest: word, Size: int64(10 + i)})
		}
		return all
	}
	c := comparedLayers(layers("a b b c"), layers("c d a d"), [2][]string{{"1", "2", "2", "3"}, {"3", "2", "1", "4"}})
	// c and b have other sizes in the second; each is counted once, as the first has it.
	if got := fmt.Sprint(c); got != "{[{a 10 } {c 13 }] [{b 11 d}] [{d 11 b}] 23 11 11}" {
		t.Error(got)
	}
	// Where it is not known what is in them, nothing is said of it.
	c = comparedLayers(layers("a"), layers("b"), [2][]string{{"1"}, {"1", "2"}})
	if got := fmt.Sprint(c); got != "{[] [{a 10 }] [{b 10 }] 0 10 10}" {
		t.Error(got)
	}
}
