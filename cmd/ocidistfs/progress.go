package main

import (
	"io"
	"os"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress counts what is written through it, and shows it where a person looks:
// on a terminal that can go back in a line.
type progress struct {
	bar  *progressbar.ProgressBar
	take func() // the line, from what else is drawn there
}

func newProgress(w io.Writer, size int64, what string) *progress {
	return progressWith(w, size, what, progressbar.OptionOnCompletion(func() { _, _ = io.WriteString(w, "\n") }))
}

// newPassing is a progress of which nothing is left on the terminal when it ends.
func newPassing(w io.Writer, size int64, what string) *progress {
	return progressWith(w, size, what, progressbar.OptionClearOnFinish())
}

func progressWith(w io.Writer, size int64, what string, end progressbar.Option) *progress {
	if !drawable(w) {
		return &progress{}
	}
	take := func() {}
	if shared, ok := w.(screenStream); ok { // of which the bar cannot tell how wide it is
		w, take = shared.of, sync.OnceFunc(shared.take)
	}
	return &progress{progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(legible(what)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionFullWidth(),
		end,
	), take}
}

// drawable says whether w is a terminal that can go back in a line.
func drawable(w io.Writer) bool { return isTerminal(w) && os.Getenv("TERM") != "dumb" }

// isTerminal says whether what is written to w is for a person to read.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *progress) shown() bool { return p.bar != nil }

func (p *progress) Write(b []byte) (int, error) {
	p.add(int64(len(b)))
	return len(b), nil
}

// add counts bytes that are not written through it. It may be called at any time from
// anywhere.
func (p *progress) add(n int64) {
	if p.bar != nil {
		p.take()
		_ = p.bar.Add64(n) // a bar that cannot be drawn fails no pull
	}
}

// show draws how much there is, and of how much. It is not over before end says so.
func (p *progress) show(done, all int64) {
	if p.bar != nil {
		p.bar.ChangeMax64(max(all, 1))
		_ = p.bar.Set64(min(done, all-1)) // as in add
		_ = p.bar.RenderBlank()           // whether there is more or not
	}
}

// clear removes what was drawn last.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // as in add
	}
}

// end says that all is written, where it is, and leaves the cursor on a line of
// its own.
func (p *progress) end(all bool) {
	switch {
	case p.bar == nil || p.bar.IsFinished():
	case all:
		p.take()
		_ = p.bar.Finish()
	default:
		_ = p.bar.Exit()
	}
}
