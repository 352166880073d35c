package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares what the program says with files in testdata/golden that
// read like a session at a terminal. Each has the calls itself: a line "$ ocidistfs
// ARGUMENT..." and below it standard output, standard error and, where it is not 0,
// the exit code. A call is added as a line, and go test -run Golden -update writes
// the rest: then read it.
func TestGolden(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	t.Setenv("HOME", "/home/alice")
	t.Setenv("XDG_CACHE_HOME", "")
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			reportDifference(t, string(want), got)
		})
	}
}

// replay makes the calls of a session again.
func replay(t *testing.T, session string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(session) {
		call, isCall := strings.CutPrefix(line, "$ ocidistfs")
		switch {
		case isCall:
			if out.Len() > 0 && !strings.HasSuffix(out.String(), "\n\n") {
				out.WriteByte('\n')
			}
			out.WriteString(strings.TrimRight(line, "\n") + "\n")
			var said bytes.Buffer
			code := run(t.Context(), strings.Fields(call), streams{strings.NewReader(""), &said, &said})
			out.WriteString(strings.TrimRight(said.String(), "\n") + "\n")
			if code != 0 {
				fmt.Fprintf(&out, "[exit %d]\n", code)
			}
		case strings.HasPrefix(line, "# "):
			out.WriteString("\n" + line)
		}
	}
	return strings.TrimLeft(out.String(), "\n")
}

// reportDifference shows the call whose answer differs first.
func reportDifference(t *testing.T, want, got string) {
	t.Helper()
	wants, gots := strings.Split(want, "\n$ "), strings.Split(got, "\n$ ")
	for i := range min(len(wants), len(gots)) {
		if wants[i] != gots[i] {
			t.Fatalf("%s\n\nwant:\n\n%s\n\n(-update writes it anew)", gots[i], wants[i])
		}
	}
	if want != got {
		t.Fatalf("%d calls, want %d (-update writes it anew)", len(gots), len(wants))
	}
}
