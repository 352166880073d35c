package fs

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrnoTable keeps the table of docs/semantics.md complete: it has every
// errno that toErrno gives, with the words that programs print.
func TestErrnoTable(t *testing.T) {
	page, err := os.ReadFile("../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range errnoCases {
		if c.want == 0 {
			continue
		}
		row := "| `" + unix.ErrnoName(c.want) + "` | "
		_, after, ok := strings.Cut(string(page), row)
		if !ok {
			t.Errorf("no row for %s, as of %s", unix.ErrnoName(c.want), c.name)
			continue
		}
		message, _, _ := strings.Cut(after, " |")
		if !strings.EqualFold(message, c.want.Error()) {
			t.Errorf("%s is %q, programs say %q", unix.ErrnoName(c.want), message, c.want.Error())
		}
	}
}
