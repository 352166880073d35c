package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// reportPath is where each run leaves its table.
	reportPath = "../../dist/benchmarks.md"
	// pagePath is where a run is documented, between the marks.
	pagePath   = "../../docs/benchmarks.md"
	beginMark  = "<!-- begin: make bench writes what follows -->\n"
	endMark    = "<!-- end -->\n"
	tableHead  = "| what | ours | s | theirs | s | ratio | target | memory, MiB | CPU, s | from the registry, MB | requests |\n"
	tableRule  = "|---|---|---|---|---|---|---|---|---|---|---|\n"
	nothing    = "–"
	rowPattern = "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n"
)

// A table is what was measured.
type table struct {
	lines []string
	peak  int64  // the largest memory of ours
	load  string // how busy the machine was before
}

// add adds the results of a comparison, of which some may be missing.
func (m *table) add(c *comparison, samples map[string][]sample) {
	for _, r := range c.results {
		ours, theirs := samples[r.ours], samples[r.theirs]
		if len(ours) == 0 || (r.theirs != "" && len(theirs) == 0) {
			continue // it was not there, or failed, which was said
		}
		for _, s := range ours {
			m.peak = max(m.peak, s.memory)
		}
		m.lines = append(m.lines, r.line(ours, theirs))
	}
}

// line is a result as a line of the table: medians, with the least and the most
// of the times.
func (r result) line(ours, theirs []sample) string {
	ratio, theirTime, theirName := nothing, nothing, nothing
	if len(theirs) > 0 {
		ratio = fmt.Sprintf("%.3g", medianOf(ours, sample.seconds)/medianOf(theirs, sample.seconds))
		theirTime, theirName = times(theirs), r.theirs
	}
	both := func(format string, of func(sample) float64) string {
		text := fmt.Sprintf(format, medianOf(ours, of))
		if len(theirs) > 0 {
			text += " / " + fmt.Sprintf(format, medianOf(theirs, of))
		}
		return text
	}
	what := r.what
	for _, s := range []struct {
		name string
		of   []sample
	}{{r.ours, ours}, {r.theirs, theirs}} {
		if len(s.of) > 0 && s.of[0].note != "" {
			what += fmt.Sprintf("; %s: %s", cell(s.name), s.of[len(s.of)/2].note)
		}
	}
	return fmt.Sprintf(rowPattern, what, cell(r.ours), times(ours), cell(theirName), theirTime, ratio, r.target,
		both("%.0f", func(s sample) float64 { return float64(s.memory) / (1 << 20) }),
		both("%.2f", func(s sample) float64 { return s.cpu.Seconds() }),
		both("%.1f", func(s sample) float64 { return float64(s.bytes) / 1e6 }),
		both("%.0f", func(s sample) float64 { return float64(len(s.requests)) }))
}

// cell is a text in which nothing ends a cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func (s sample) seconds() float64 { return s.wall.Seconds() }

// times are the median, the least and the most.
func times(samples []sample) string {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = s.seconds()
	}
	if len(all) == 1 {
		return fmt.Sprintf("%.3f", all[0])
	}
	return fmt.Sprintf("%.3f (%.3f–%.3f)", median(all), slices.Min(all), slices.Max(all))
}

func medianOf(samples []sample, of func(sample) float64) float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	return median(all)
}

// median is the middle one, or the mean of the two in the middle.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// text is the table, with what it was measured on.
func (m *table) text(o options, machine string) string {
	return fmt.Sprintf("%s; load before: %s. Image of %d MB; rounds: %d, medians (the least and the most). Peak memory of ours in any row: %d MiB, target ≤ 128.\n\n%s%s%s",
		machine, m.load, o.size/1e6, o.rounds, m.peak>>20, tableHead, tableRule, strings.Join(m.lines, ""))
}

// publish prints the table, and leaves it where it belongs.
func (m *table) publish(t *testing.T, o options) {
	t.Helper()
	if len(m.lines) == 0 {
		return
	}
	text := m.text(o, machine())
	fmt.Printf("\n%s\n", text)
	if err := os.MkdirAll(filepath.Dir(reportPath), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(reportPath, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if !o.update || t.Failed() {
		return
	}
	page, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	updated, ok := replaceBetween(string(page), beginMark, endMark, "\n"+text+"\n")
	if !ok {
		t.Fatalf("%s has no marks", pagePath)
	}
	if err := os.WriteFile(pagePath, []byte(updated), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replaceBetween replaces what is between two marks, if they are there.
func replaceBetween(page, begin, end, text string) (string, bool) {
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return page, false
	}
	_, after, ok := strings.Cut(rest, end)
	return before + begin + text + end + after, ok
}
