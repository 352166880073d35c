package interop

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A matrix is what was measured: a row for each loader, a column for each image.
type matrix struct {
	columns []string
	rows    []*row
}

type row struct {
	name  string // with the version
	cells map[string]kept
}

// String is the matrix as a table of Markdown.
func (m *matrix) String() string {
	width := utf8.RuneCountInString(loaderColumn)
	for _, r := range m.rows {
		width = max(width, utf8.RuneCountInString(r.name))
	}
	var b strings.Builder
	m.write(&b, width, loaderColumn, func(column string) string { return column })
	m.write(&b, width, strings.Repeat("-", width), func(column string) string { return strings.Repeat("-", len(column)) })
	for _, r := range m.rows {
		m.write(&b, width, r.name, func(column string) string { return string(r.cells[column]) })
	}
	return b.String()
}

// loaderColumn is the head of the first column.
const loaderColumn = "loader"

func (m *matrix) write(b *strings.Builder, width int, name string, cell func(column string) string) {
	fmt.Fprintf(b, "| %-*s |", width, name)
	for _, column := range m.columns {
		fmt.Fprintf(b, " %-*s |", max(len(column), len(theName+theDigest+itRuns)), cell(column))
	}
	b.WriteByte('\n')
}

// lacking are the lines that a page does not have, however wide its columns are.
func (m *matrix) lacking(page string) []string {
	has := map[string]bool{}
	for line := range strings.Lines(page) {
		has[strings.Join(strings.Fields(line), " ")] = true
	}
	var lacking []string
	for line := range strings.Lines(m.String()) {
		line = strings.Join(strings.Fields(line), " ")
		if !has[line] && !strings.Contains(line, "--") {
			lacking = append(lacking, line)
		}
	}
	return lacking
}
