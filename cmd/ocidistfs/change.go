package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A change is a field that differs: what only one has is nil in the other. A line of
// the history has no name.
type change struct {
	Field string  `json:"field,omitempty"`
	From  *string `json:"from,omitempty"`
	To    *string `json:"to,omitempty"`
}

// fields are the values of a document by their names, with dots between.
type fields map[string]string

// fieldsOf takes a JSON object apart, but for some names at its top. A list is one value,
// but for that of variables, NAME=VALUE, as Env is. What is no object has none.
func fieldsOf(document []byte, without ...string) fields {
	f := fields{}
	var top map[string]json.RawMessage
	if json.Unmarshal(document, &top) != nil {
		return f
	}
	for _, name := range without {
		delete(top, name)
	}
	for name, value := range top {
		f.add(name, value, 1)
	}
	return f
}

// maxNested is how deep a document is taken apart; no config is that deep.
const maxNested = 16

func (f fields) add(name string, value json.RawMessage, depth int) {
	var object map[string]json.RawMessage
	var list, variables []string
	switch {
	case depth < maxNested && json.Unmarshal(value, &object) == nil && len(object) > 0:
		for key, v := range object {
			f.add(name+"."+key, v, depth+1)
		}
		return
	case strings.HasSuffix(name, ".Env") && json.Unmarshal(value, &list) == nil:
		variables = list
	}
	for _, v := range variables {
		key, text, _ := strings.Cut(v, "=")
		f[name+"."+key] = text
	}
	if variables != nil || string(value) == "null" {
		return
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		text = string(value)
	}
	f[name] = text
}

// changed are the fields that differ, by name.
func changed(from, to fields) []change {
	all := maps.Clone(from)
	maps.Copy(all, to)
	differ := []change{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, hasA := from[name]
		b, hasB := to[name]
		if hasA && hasB && a == b {
			continue
		}
		c := change{Field: name}
		if hasA {
			c.From = &a
		}
		if hasB {
			c.To = &b
		}
		differ = append(differ, c)
	}
	return differ
}

// maxCompared bounds the product of two numbers of lines of which the longest common
// sequence is looked for, which takes as much memory and time.
const maxCompared = 4 << 20

// changedLines are the lines that only one has, in order: those between which others
// stand in both.
func changedLines(from, to []string) []change {
	differ := []change{}
	for len(from) > 0 && len(to) > 0 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	for len(from) > 0 && len(to) > 0 && from[len(from)-1] == to[len(to)-1] {
		from, to = from[:len(from)-1], to[:len(to)-1]
	}
	gone := func(line string) { differ = append(differ, change{From: &line}) }
	added := func(line string) { differ = append(differ, change{To: &line}) }
	i, j := 0, 0
	if len(from)*len(to) <= maxCompared {
		longest := commonLines(from, to)
		for i < len(from) && j < len(to) {
			switch {
			case from[i] == to[j]:
				i, j = i+1, j+1
			case longest[i+1][j] >= longest[i][j+1]:
				gone(from[i])
				i++
			default:
				added(to[j])
				j++
			}
		}
	}
	for ; i < len(from); i++ {
		gone(from[i])
	}
	for ; j < len(to); j++ {
		added(to[j])
	}
	return differ
}

// commonLines has at [i][j] how many lines the ends of both from there on have in common,
// in order.
func commonLines(from, to []string) [][]int {
	longest := make([][]int, len(from)+1)
	for i := range longest {
		longest[i] = make([]int, len(to)+1)
	}
	for i := len(from) - 1; i >= 0; i-- {
		for j := len(to) - 1; j >= 0; j-- {
			if from[i] == to[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	return longest
}
