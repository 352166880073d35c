package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A shownTerminal is what a person sees of a terminal that is written to.
type shownTerminal struct {
	t     *testing.T
	came  chan []byte
	lines []string
	at    int // in the last line
}

// newShownTerminal returns a terminal, and the side of it that a program has.
func newShownTerminal(t *testing.T) (*shownTerminal, *os.File) {
	t.Helper()
	us, its, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	s := &shownTerminal{t: t, came: make(chan []byte), lines: []string{""}}
	go func() {
		defer close(s.came)
		for {
			b := make([]byte, 4096)
			n, err := us.Read(b)
			if err != nil {
				return // EIO: nobody has the other side
			}
			s.came <- b[:n]
		}
	}()
	t.Cleanup(func() {
		_ = its.Close()
		for range s.came { // until its reader has ended
			continue
		}
		_ = us.Close()
	})
	return s, its
}

// write does what the terminal does.
func (s *shownTerminal) write(b []byte) {
	for _, r := range string(b) {
		last := len(s.lines) - 1
		switch r {
		case '\r':
			s.at = 0
		case '\n':
			s.lines = append(s.lines, "")
		default:
			line := []rune(s.lines[last])
			for len(line) <= s.at {
				line = append(line, ' ')
			}
			line[s.at] = r
			s.lines[last], s.at = string(line), s.at+1
		}
	}
}

// waitFor waits until the lines are on the terminal. One that ends in … is begun so.
func (s *shownTerminal) waitFor(want ...string) {
	s.t.Helper()
	limit := time.After(waitLimit)
	for {
		if slices.EqualFunc(s.lines, want, func(line, want string) bool {
			if begin, ok := strings.CutSuffix(want, "…"); ok {
				return strings.HasPrefix(line, begin)
			}
			return strings.TrimRight(line, " ") == want
		}) {
			return
		}
		select {
		case b, ok := <-s.came:
			if !ok {
				s.t.Fatalf("the terminal ended with %q, want %q", s.lines, want)
			}
			s.write(b)
		case <-limit:
			s.t.Fatalf("the terminal shows %q, want %q", s.lines, want)
		}
	}
}

// TestScreen: the bar is in the last line, and in nobody's way.
func TestScreen(t *testing.T) {
	t.Setenv("TERM", "xterm")
	shown, terminal := newShownTerminal(t)
	screen, s := openScreen(streams{out: terminal, err: terminal})
	var mu sync.Mutex
	var passes []tree.LayerPass
	ticks := make(chan time.Time)
	screen.watch(func() []tree.LayerPass {
		mu.Lock()
		defer mu.Unlock()
		return passes
	}, ticks)
	next := func(now ...tree.LayerPass) {
		mu.Lock()
		passes = now
		mu.Unlock()
		ticks <- time.Time{}
		ticks <- time.Time{} // it was drawn once
	}
	say := func(w io.Writer, what string) {
		if _, err := io.WriteString(w, what); err != nil {
			t.Error(err)
		}
	}
	layer := func(n int, read, size int64) tree.LayerPass {
		return tree.LayerPass{Layer: registry.Digest{Algorithm: "sha256", Hex: fmt.Sprint(n)}, Read: read, Size: size}
	}

	next()
	shown.waitFor("")
	next(layer(1, 0, 1000), layer(2, 0, 3000))
	shown.waitFor("layers   0%…")
	// A layer that was read counts with those that still are.
	next(layer(2, 1000, 3000))
	shown.waitFor("layers  50%…")
	say(s.err, "a warning\n")
	shown.waitFor("a warning", "")
	next(layer(2, 2000, 3000))
	shown.waitFor("a warning", "layers  75%…")
	say(s.out, "half a line")
	shown.waitFor("a warning", "half a line")
	next(layer(2, 2500, 3000))
	say(s.out, ", and all\n")
	shown.waitFor("a warning", "half a line, and all", "")
	next(layer(2, 3000, 3000))
	shown.waitFor("a warning", "half a line, and all", "layers  99%…")
	next()
	shown.waitFor("a warning", "half a line, and all", "")

	// What is copied has its own bar, from the first byte on.
	meter := newProgress(s.err, 1000, "copied")
	next(layer(3, 1, 2))
	shown.waitFor("a warning", "half a line, and all", "layers  50%…")
	meter.add(100)
	next(layer(3, 2, 2))
	shown.waitFor("a warning", "half a line, and all", "copied  10%…")
	meter.add(900)
	shown.waitFor("a warning", "half a line, and all", "copied 100%…", "")
	next(layer(3, 1, 2))
	shown.waitFor("a warning", "half a line, and all", "copied 100%…", "layers  50%…")
	screen.close()
	shown.waitFor("a warning", "half a line, and all", "copied 100%…", "")
}

// Without a terminal there is no screen, and the streams are what they were.
func TestNoScreen(t *testing.T) {
	_, terminal := newShownTerminal(t)
	for _, c := range []struct {
		name string
		term string
		s    streams
	}{
		{"a pipe", "xterm", streams{out: terminal, err: io.Discard}},
		{"a terminal that cannot go back", "dumb", streams{out: terminal, err: terminal}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			if screen, s := openScreen(c.s); screen != nil || s != c.s {
				t.Errorf("a screen %v, %v", screen, s)
			}
		})
	}
}
