package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// write writes what differs for a person, as diff(1) marks it; nothing where the two are
// the same.
func (c *comparison) write(w io.Writer) error {
	if c.Same {
		return nil
	}
	var t strings.Builder
	fmt.Fprintf(&t, "--- %s\n+++ %s\n", c.From.Reference, c.To.Reference)
	part(&t, "manifest", append([]change{{"digest", &c.From.Digest, &c.To.Digest}}, c.Manifest...))
	part(&t, "platforms", c.Platforms)
	if c.From.Missing != "" || c.To.Missing != "" {
		fmt.Fprintln(&t, "image")
		for i, one := range []string{c.From.Missing, c.To.Missing} {
			if one != "" {
				fmt.Fprintln(&t, marks[i], one)
			}
		}
		_, err := io.WriteString(w, t.String())
		return err
	}
	if c.From.Image == c.To.Image {
		_, err := fmt.Fprintf(w, "%simage for the platform\n  the same\n", &t)
		return err
	}
	image := c.Image
	if c.From.Image != c.From.Digest || c.To.Image != c.To.Digest {
		image = append([]change{{"digest", &c.From.Image, &c.To.Image}}, image...)
	}
	part(&t, "image for the platform", image)
	part(&t, "config", c.Config)
	part(&t, "history", c.History)
	c.Layers.write(&t)
	_, err := io.WriteString(w, t.String())
	return err
}

// marks are those of what only the first and only the second has.
var marks = [2]string{"-", "+"}

// part writes changes below what they are of.
func part(w io.Writer, name string, changes []change) {
	if len(changes) == 0 {
		return
	}
	fmt.Fprintln(w, name)
	for _, c := range changes {
		for i, value := range []*string{c.From, c.To} {
			if value != nil {
				fmt.Fprintln(w, marks[i], strings.TrimSpace(oneLine(c.Field)+" "+oneLine(*value)))
			}
		}
	}
}

// oneLine is a text from a registry as a terminal may show it.
func oneLine(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func (l *layerChange) write(w io.Writer) {
	fmt.Fprintln(w, "layers")
	line := func(mark string, one layerOf) {
		also := ""
		if one.Recompressed != "" {
			also = ", the content of " + oneLine(one.Recompressed)
		}
		fmt.Fprintf(w, "%s %s %s%s\n", mark, oneLine(one.Digest), size(one.Size), also)
	}
	for _, one := range l.Shared {
		line(" ", one)
	}
	for _, one := range l.From {
		line("-", one)
	}
	for _, one := range l.To {
		line("+", one)
	}
	fmt.Fprintf(w, "%s shared, %s; %s new, %s\n", count(len(l.Shared), "layer"), size(l.SharedBytes), count(len(l.To), "layer"), size(l.NewBytes))
}
