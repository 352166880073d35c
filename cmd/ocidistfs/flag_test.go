package main

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each flag of each command has a variable, which help shows.
func TestVariables(t *testing.T) {
	app := newApplication(streams{strings.NewReader(""), io.Discard, io.Discard})
	if _, err := app.kingpin.ParseContext([]string{"version"}); err != nil { // kingpin completes its model
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^OCIDISTFS_[A-Z]+(_[A-Z]+)*$`)
	n := 0
	for _, cmd := range app.kingpin.Model().FlattenedCommands() {
		for _, f := range cmd.Flags {
			n++
			if !name.MatchString(f.Envar) || !strings.HasSuffix(f.Envar, strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))) {
				t.Errorf("%s --%s has the variable %q", cmd.Name, f.Name, f.Envar)
			}
			rows := flagColumns(cmd.Flags)
			if !slices.ContainsFunc(rows, func(row [2]string) bool { return strings.Contains(row[1], "($"+f.Envar+")") }) {
				t.Errorf("%s --help does not show %s", cmd.Name, f.Envar)
			}
		}
		if cmd.Name != "help" && !cmd.Hidden && !strings.Contains(firstExample(cmd), "ocidistfs "+cmd.FullCommand) {
			t.Errorf("%s has no example", cmd.Name)
		}
	}
	if n == 0 {
		t.Error("no flags")
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string // "" is an error
	}{
		{[]string{"a.example"}, "a.example"},
		{[]string{"a.example:5000", "localhost"}, "a.example:5000,localhost"},
		{[]string{"a.example,b.example"}, "a.example,b.example"},
		{[]string{"a.example b.example\nc.example"}, "a.example,b.example,c.example"},
		{[]string{" a.example , [::1]:5000,"}, "a.example,[::1]:5000"},
		{[]string{""}, ""},
		{[]string{","}, ""},
		{[]string{"a.example,B"}, ""},
		{[]string{"https://a.example"}, ""},
		{[]string{"a.example/app"}, ""},
	} {
		var h hosts
		var err error
		for _, v := range c.values {
			if err = h.Set(v); err != nil {
				break
			}
		}
		if (err != nil) != (c.want == "") || err == nil && h.String() != c.want {
			t.Errorf("%q: %s, %v", c.values, &h, err)
		}
	}
}
