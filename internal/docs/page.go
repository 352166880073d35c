// Package docs reads the pages of the documentation for the tests that hold
// them: which commands they have, what these should say, where they point.
//
// A fenced block says what it is by its language. A block of sh is run as it is;
// one of console is run command by command, and what each says is compared;
// text, ini and json are no commands. An HTML comment on the line above a fence,
// which no reader sees, says more:
//
//	<!-- needs: jq podman -->          it is run where these programs are
//	<!-- not run: it needs systemd --> it is not run, for this reason
package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Pages are the paths of all pages of the module in a directory.
func Pages(dir string) ([]string, error) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		pages = append(pages, found...)
	}
	return pages, nil
}

// A Block is a fenced block of a page.
type Block struct {
	Line     int    // of its opening fence, from 1
	Language string // sh, console or one of [plain]
	Text     string // between the fences, without their indentation
	Needs    []string
	NotRun   string // why it is not run; "" where it is
}

// plain are the languages of blocks that have no commands.
var plain = []string{"text", "ini", "json"}

var (
	fencePattern = regexp.MustCompile("^( *)```(.*)$")
	markPattern  = regexp.MustCompile(`^ *<!-- (needs|not run):(.*)-->$`)
)

// Commands says whether the block has commands.
func (b Block) Commands() bool { return !slices.Contains(plain, b.Language) }

// Blocks returns the blocks of a page. That a fence is not closed, has no language
// or one that is not known, or that a mark is above no fence, is an error with its
// line.
func Blocks(page string) ([]Block, error) {
	var blocks []Block
	var open *Block // the one that the line is in
	var indent string
	var marked Block // what the mark on the line before says
	marks := 0       // its line
	for i, line := range strings.Split(page, "\n") {
		fence := fencePattern.FindStringSubmatch(line)
		mark := markPattern.FindStringSubmatch(line)
		switch {
		case open != nil && fence != nil && fence[2] == "":
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent) + "\n"
		case fence != nil:
			b := Block{Line: i + 1, Language: fence[2], Needs: marked.Needs, NotRun: marked.NotRun}
			if b.Language != "sh" && b.Language != "console" && !slices.Contains(plain, b.Language) {
				return nil, fmt.Errorf("line %d: a block of %q is neither run nor known to be no command", b.Line, b.Language)
			}
			open, indent, marked, marks = &b, fence[1], Block{}, 0
		case marks != 0:
			return nil, fmt.Errorf("line %d: the mark is above no block", marks)
		case mark != nil:
			said := strings.TrimSpace(mark[2])
			if said == "" {
				return nil, fmt.Errorf("line %d: the mark says nothing", i+1)
			}
			if marks = i + 1; mark[1] == "needs" {
				marked.Needs = strings.Fields(said)
			} else {
				marked.NotRun = said
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block has no end", open.Line)
	}
	return blocks, nil
}

// A Step is a command, or several that are run as one, and what should come of it.
type Step struct {
	Command string
	// Compared says whether Want is the output, as [Match] has it. A step may fail
	// where Want shows something, as it would the error.
	Compared bool
	Want     string
}

// Steps returns what is to be run of a block, in order. In a console block a line
// that begins with "$ " is a command, and lines below it with "> " are the rest of
// it; what follows is its output.
func (b Block) Steps() ([]Step, error) {
	if b.Language == "sh" {
		return []Step{{Command: b.Text}}, nil
	}
	var steps []Step
	for line := range strings.Lines(b.Text) {
		var last *Step
		if len(steps) > 0 {
			last = &steps[len(steps)-1]
		}
		command, begins := strings.CutPrefix(line, "$ ")
		more, continues := strings.CutPrefix(line, "> ")
		switch {
		case begins:
			steps = append(steps, Step{Command: command, Compared: true})
		case last == nil:
			return nil, fmt.Errorf("line %d: a console begins with a command, not with %q", b.Line+1, strings.TrimSpace(line))
		case continues && last.Want == "":
			last.Command += more
		default:
			last.Want += line
		}
	}
	return steps, nil
}
