package fs

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

func TestErrorLog(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := NewErrorLog(func() time.Time { return now })
	if got := string(l.text()); got != "" {
		t.Errorf("an empty log is %q", got)
	}
	if !l.add("r.io/a/tags/1", fmt.Errorf("get manifest: %w", answer(403))) {
		t.Error("the first error is no news")
	}
	now = now.Add(time.Second)
	if l.add("r.io/a/tags/1", fmt.Errorf("get manifest: %w", answer(403))) {
		t.Error("the same error again is news")
	}
	l.Add("r.io/b", errors.New("two\nlines"))
	want := "2026-01-02T03:04:06Z\tr.io/a/tags/1\tEACCES\tget manifest: x: get a: said (2 times)\n" +
		"2026-01-02T03:04:06Z\tr.io/b\tEIO\ttwo lines\n"
	if got := string(l.text()); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
	if l.add("r.io/a/tags/1", fmt.Errorf("get manifest: %w", answer(403))) || l.add("r.io/b", errors.New("two\nlines")) {
		t.Error("two errors in turns are news")
	}
	if got := l.recent(); len(got) != 2 || got[0].Count != 3 || got[1].Count != 2 {
		t.Errorf("two errors in turns are %v", got)
	}
	now = now.Add(quietFor)
	if !l.add("r.io/a/tags/1", fmt.Errorf("get manifest: %w", answer(403))) {
		t.Error("an error that comes again after a while is no news")
	}
	l.Add("r.io/b", errors.New(strings.Repeat("ö", maxText)))
	if got := l.recent()[2].Text; len(got) > maxText+len("…") || !strings.HasSuffix(got, "ö…") {
		t.Errorf("a long error is %d bytes and ends with %q", len(got), got[len(got)-10:])
	}
	for i := range 2 * keptErrors {
		l.Add("r.io/c", fmt.Errorf("error %d", i))
	}
	lines := strings.Split(strings.TrimSpace(string(l.text())), "\n")
	if len(lines) != keptErrors || !strings.HasSuffix(lines[keptErrors-1], fmt.Sprint("error ", 2*keptErrors-1)) {
		t.Errorf("%d lines, the last %q; want the last %d errors", len(lines), lines[len(lines)-1], keptErrors)
	}
}

// Whoever is kept out is told who he was taken for.
func TestErrorLogTellsWhoAsked(t *testing.T) {
	l := NewErrorLog(nil)
	refused := &registry.Error{Op: "list tags of", Ref: "r.io/a", Status: http.StatusUnauthorized, Err: errors.New("401"), Asked: "without credentials"}
	l.Add("r.io/a/tags", fmt.Errorf("more: %w", refused))
	if got := l.recent()[0]; got.Text != "more: list tags of r.io/a: 401; asked without credentials" || got.Errno != "EACCES" {
		t.Errorf("%+v", got)
	}
}

// An error is the same whatever number its request had.
func TestErrorLogCountsWhatDiffersInDetails(t *testing.T) {
	l := NewErrorLog(nil)
	for i := range 3 {
		failed := &registry.Error{
			Op: "get blob", Ref: "r.io/a", Status: http.StatusServiceUnavailable, Err: errors.New("503"),
			Details: fmt.Sprintf("X-Request-Id %d", i),
		}
		if news := l.add("r.io/a", fmt.Errorf("more: %w", failed)); news != (i == 0) {
			t.Errorf("error %d is news: %t", i, news)
		}
	}
	if got := l.recent(); len(got) != 1 || got[0].Count != 3 || got[0].Text != "more: get blob r.io/a: 503 (X-Request-Id 2)" {
		t.Errorf("%+v", got)
	}
}

// TestErrorLogPaths: no name of a file in an image makes a second line, or tells a terminal
// what to do.
func TestErrorLogPaths(t *testing.T) {
	l := NewErrorLog(func() time.Time { return time.Unix(0, 0) })
	for _, path := range []string{"a/größe", "a/new\nline", "a/\x1b[2J", "a/\xff"} {
		l.Add(path, syscall.EIO)
	}
	want := "1970-01-01T00:00:00Z\ta/größe\tEIO\tinput/output error\n" +
		"1970-01-01T00:00:00Z\t\"a/new\\nline\"\tEIO\tinput/output error\n" +
		"1970-01-01T00:00:00Z\t\"a/\\x1b[2J\"\tEIO\tinput/output error\n" +
		"1970-01-01T00:00:00Z\t\"a/\\xff\"\tEIO\tinput/output error\n"
	if got := string(l.text()); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if _, ok := l.last("a/new\nline", false); !ok {
		t.Error("the last error of a path is not found")
	}
}
