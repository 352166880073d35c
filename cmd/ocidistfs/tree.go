package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

const treeExamples = `ocidistfs tree docker.io/library/alpine/tags/3.10
# The tags of a repository, and what is in each image, which costs a request each:
ocidistfs tree -L 3 docker.io/library/alpine
# For programs, as tree -J has it:
ocidistfs tree --json docker.io/library/alpine/tags/3.10
`

// A drawing is one run of the command tree.
type drawing struct {
	view
	depth  int
	asJSON bool

	*openView
	tally
	out                sink
	directories, files int
}

func addTree(app *kingpin.Application) (string, command) {
	var d drawing
	var path string
	cmd := app.Command("tree", "Draw what is below a directory that a mount shows, without a mount. Links are not gone into.").HelpLong(treeExamples)
	cmd.Flag("level", "How deep. By default all of an image; not into the images of tags, nor into the tags of repositories.").Short('L').PlaceHolder("DEPTH").IntVar(&d.depth)
	cmd.Flag("json", "For programs: an array.").BoolVar(&d.asJSON)
	d.flags(cmd)
	cmd.Arg("PATH", pathForm+" By default the root, which has the hosts that were used.").Default("/").StringVar(&path)
	given := false
	cmd.GetFlag("level").IsSetByUser(&given)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		if given && d.depth < 1 {
			return usagef("--level %d: at least 1", d.depth)
		}
		var err error
		if d.openView, err = d.open(ctx, s, hostsIn([]string{path})...); err != nil {
			return err
		}
		defer d.close()
		d.tally, d.out = tally{w: d.err}, sink{d.openView.out}
		if err := d.run(ctx, path); err != nil {
			return d.advise(ctx, err)
		}
		return d.end()
	}
}

func (d *drawing) run(ctx context.Context, path string) error {
	place, err := d.Find(ctx, path)
	if err != nil {
		return err
	}
	if _, ok := place.Node.(tree.Dir); !ok {
		return fmt.Errorf("%s: %w", place.Path, tree.ErrNotDir)
	}
	top := readBranch(ctx, rowOf(place, path), links)
	if top.row.err != nil {
		return top.row.err
	}
	if d.asJSON {
		drawn, err := d.drawn(ctx, top, 1)
		if err != nil {
			return err
		}
		return writeJSON(d.out, []any{drawn, drawnCounts{"report", d.directories, d.files}})
	}
	if _, err := fmt.Fprintln(d.out, path); err != nil {
		return err
	}
	if err := d.draw(ctx, top, "", 1); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.out, "\n%s, %s\n", plural(d.directories, "directory", "directories"), count(d.files, "file"))
	return err
}

// opens says whether what is in a row is drawn, which is so deep below the top. What
// costs a request for each name that there is has to be asked for: tags of
// repositories, unless they are the top, and images of tags.
func (d *drawing) opens(r row, depth int) bool {
	if !r.mode.IsDir() {
		return false
	}
	if d.depth > 0 {
		return depth < d.depth
	}
	parts := strings.Split(r.path, "/")
	i := slices.IndexFunc(parts, holdsImages)
	return i < 0 || len(parts) > i+2
}

// below reads what is opened of a directory's rows, in their order.
func (d *drawing) below(ctx context.Context, b branch, depth int) (next func() (branch, bool), stop func()) {
	opened := slices.DeleteFunc(slices.Clone(b.rows), func(r row) bool { return !d.opens(r, depth) })
	return iter.Pull(branches(ctx, opened, links))
}

func (d *drawing) counts(r row) {
	if r.mode.IsDir() {
		d.directories++
	} else {
		d.files++
	}
}

// draw draws what is in a directory that was read; its rows are so deep below the top.
func (d *drawing) draw(ctx context.Context, b branch, margin string, depth int) error {
	if err := d.tell(ctx, d.advise(ctx, b.err)); err != nil {
		return err
	}
	next, stop := d.below(ctx, b, depth)
	defer stop()
	for i, r := range b.rows {
		corner, more := "├── ", "│   "
		if i == len(b.rows)-1 {
			corner, more = "└── ", "    "
		}
		line := margin + corner + r.name
		if r.target != "" {
			line += " -> " + r.target
		}
		if _, err := fmt.Fprintln(d.out, d.out.name(line)); err != nil {
			return err
		}
		d.counts(r)
		if err := d.tell(ctx, r.err); err != nil {
			return err
		}
		if !d.opens(r, depth) {
			continue
		}
		sub, ok := next()
		if !ok {
			return ctx.Err()
		}
		if err := d.draw(ctx, sub, margin+more, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// drawnNode is a row for programs, as tree -J has it.
type drawnNode struct {
	Type     string       `json:"type"` // directory, file or link
	Name     string       `json:"name"`
	Target   string       `json:"target,omitempty"`
	Contents *[]drawnNode `json:"contents,omitempty"` // of a directory that was opened
}

type drawnCounts struct {
	Type        string `json:"type"` // report
	Directories int    `json:"directories"`
	Files       int    `json:"files"`
}

// drawn is a directory that was read.
func (d *drawing) drawn(ctx context.Context, b branch, depth int) (drawnNode, error) {
	contents := []drawnNode{}
	node := drawnNode{Type: typeName(b.mode), Name: b.name, Contents: &contents}
	if err := d.tell(ctx, d.advise(ctx, b.err)); err != nil {
		return node, err
	}
	next, stop := d.below(ctx, b, depth)
	defer stop()
	for _, r := range b.rows {
		one := drawnNode{Type: typeName(r.mode), Name: r.name, Target: r.target}
		d.counts(r)
		if err := d.tell(ctx, r.err); err != nil {
			return node, err
		}
		if d.opens(r, depth) {
			sub, ok := next()
			if !ok {
				return node, ctx.Err()
			}
			var err error
			if one, err = d.drawn(ctx, sub, depth+1); err != nil {
				return node, err
			}
		}
		contents = append(contents, one)
	}
	return node, nil
}
