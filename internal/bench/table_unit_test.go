package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.of, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	ours := []sample{{wall: time.Second, cpu: time.Second, memory: 2 << 20, bytes: 3e6, requests: make([]distributiontest.Request, 4)}, {wall: 3 * time.Second, note: "a note"}, {wall: 2 * time.Second}}
	theirs := []sample{{wall: 4 * time.Second, requests: make([]distributiontest.Request, 7)}}
	r := result{what: "what", ours: "cp", theirs: "crane pull", target: "≤ 1"}
	want := "| what | cp | 2.000 (1.000–3.000) | crane pull | 4.000 | 0.5 | ≤ 1 | 0 / 0 | 0.00 / 0.00 | 0.0 / 0.0 | 0 / 7 |\n"
	if got := r.line(ours, theirs); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	want = "| what | cp | 1.000 | – | – | – | 3 requests | 2 | 1.00 | 3.0 | 4 |\n"
	if got := (result{what: "what", ours: "cp", target: "3 requests"}).line(ours[:1], nil); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := (result{what: "what", ours: "ls | head"}).line(ours[:1], nil); !strings.HasPrefix(got, `| what | ls \| head | 1.000 |`) {
		t.Errorf("got %s", got)
	}
	for _, line := range []string{tableHead, tableRule, want} {
		if n := strings.Count(line, "|"); n != strings.Count(tableHead, "|") {
			t.Errorf("%d columns in %s", n-1, line)
		}
	}
}

func TestReplaceBetween(t *testing.T) {
	if got, ok := replaceBetween("a<old>z", "<", ">", "new"); !ok || got != "a<new>z" {
		t.Errorf("%q, %v", got, ok)
	}
	if _, ok := replaceBetween("a<old", "<", ">", "new"); ok {
		t.Error("there is no end")
	}
}

// TestPageHasMarks: the table has its place in the page.
func TestPageHasMarks(t *testing.T) {
	page, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := replaceBetween(string(page), beginMark, endMark, ""); !ok {
		t.Errorf("%s has no marks", pagePath)
	}
}
