package main

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress counts what is written through it, and shows it where a person looks:
// on a terminal that can go back in a line.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer, size int64, what string) *progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionOnCompletion(func() { _, _ = io.WriteString(w, "\n") }),
	)}
}

func (p *progress) shown() bool { return p.bar != nil }

func (p *progress) Write(b []byte) (int, error) {
	if p.bar != nil {
		_ = p.bar.Add(len(b)) // a bar that cannot be drawn fails no pull
	}
	return len(b), nil
}

// end says that all is written, where it is, and leaves the cursor on a line of
// its own.
func (p *progress) end(all bool) {
	switch {
	case p.bar == nil || p.bar.IsFinished():
	case all:
		_ = p.bar.Finish()
	default:
		_ = p.bar.Exit()
	}
}
