package main

import (
	"context"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

const lsExamples = `ocidistfs ls docker.io/library/alpine/tags
ocidistfs ls -l docker.io/library/alpine/tags/3.10
# All below a directory:
ocidistfs ls -R docker.io/library/alpine/tags/3.10
# For programs, an object a line:
ocidistfs ls --json docker.io/library/alpine/tags/3.10 | jq -r 'select(.type == "file") | "\(.size) \(.name)"'
`

// A list is one run of the command ls.
type list struct {
	view
	long, recursive, itself, asJSON bool

	*openView
	tally
	out   sink
	shown int // directories with their names above
}

func addLs(app *kingpin.Application) (string, command) {
	var l list
	var paths []string
	cmd := app.Command("ls", "List directories as a mount shows them, without a mount: of hosts, repositories, tags, images.").HelpLong(lsExamples)
	cmd.Flag("long", "Show mode, size, time and name; all have one owner, who is not shown.").Short('l').BoolVar(&l.long)
	cmd.Flag("recursive", "List the directories in it too; each image costs a request.").Short('R').BoolVar(&l.recursive)
	cmd.Flag("directory", "Show directories themselves, not what is in them.").Short('d').BoolVar(&l.itself)
	cmd.Flag("json", "For programs: an object a line for each name.").BoolVar(&l.asJSON)
	l.flags(cmd)
	cmd.Arg("PATH", pathForm+" By default the root, which has the hosts that were used.").StringsVar(&paths)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		if len(paths) == 0 {
			paths = []string{"/"}
		}
		var err error
		if l.openView, err = l.open(ctx, s, hostsIn(paths)...); err != nil {
			return err
		}
		defer l.close()
		l.tally, l.out = tally{w: l.err}, sink{l.openView.out}
		return l.run(ctx, paths)
	}
}

// run lists what is no directory first, as ls(1) does.
func (l *list) run(ctx context.Context, paths []string) error {
	var dirs []row
	for found := range inOrder(ctx, namesAtOnce, func(context.Context) iter.Seq[string] { return slices.Values(paths) }, l.at) {
		var err error
		switch {
		case found.err != nil:
			err = l.tell(ctx, l.advise(ctx, found.err))
		case found.mode.IsDir() && !l.itself:
			dirs = append(dirs, found)
		default:
			err = l.write(ctx, found)
			l.shown++
		}
		if err != nil {
			return err
		}
	}
	named := len(paths) > 1 || l.recursive
	for _, r := range dirs {
		if err := l.dir(ctx, r, named); err != nil {
			return err
		}
	}
	return l.end()
}

// at is what a path leads to: where more than names is shown, a link is itself.
func (l *list) at(ctx context.Context, path string) row {
	find := l.Find
	if l.long || l.asJSON {
		find = l.FindLink
	}
	place, err := find(ctx, path)
	if err != nil {
		return row{path: path, err: err}
	}
	return rowOf(place, path).look(ctx)
}

// which rows are looked at: none where names are all that is shown.
func (l *list) which() func(iofs.FileMode) bool {
	if l.long || l.asJSON {
		return everything
	}
	return nil
}

// dir lists a directory as it becomes known, and the directories in it.
func (l *list) dir(ctx context.Context, r row, named bool) error {
	dir, ok := r.node.(tree.Dir)
	if !ok {
		return fmt.Errorf("%s: %w", r.name, tree.ErrNotDir)
	}
	if err := l.heading(r.name, named); err != nil {
		return err
	}
	var below []row
	names := 0
	for one, err := range rowsOf(ctx, dir, r.path, l.which()) {
		if err == nil {
			names++
			if one.mode.IsDir() {
				below = append(below, one)
			}
			err = l.show(ctx, one)
		} else {
			err = l.tell(ctx, l.advise(ctx, listError{r.path, err}))
			names = -1
		}
		if err != nil {
			return err
		}
	}
	if names == 0 {
		l.hint(ctx, dir, r.path)
	}
	if l.recursive {
		return l.below(ctx, below, r)
	}
	return nil
}

// below lists directories that are in one that was listed.
func (l *list) below(ctx context.Context, dirs []row, in row) error {
	for b := range branches(ctx, dirs, l.which()) {
		b.name = strings.TrimSuffix(in.name, "/") + "/" + b.name
		err := l.heading(b.name, true)
		for _, one := range b.rows {
			if err == nil {
				err = l.show(ctx, one)
			}
		}
		if err == nil {
			err = l.tell(ctx, l.advise(ctx, b.err))
		}
		if err == nil {
			err = l.below(ctx, slices.DeleteFunc(b.rows, func(r row) bool { return !r.mode.IsDir() }), b.row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// heading is the name of a directory above what is in it.
func (l *list) heading(name string, named bool) error {
	if l.asJSON || !named {
		return nil
	}
	above := ""
	if l.shown++; l.shown > 1 {
		above = "\n"
	}
	_, err := fmt.Fprintf(l.out, "%s%s:\n", above, l.out.name(name))
	return err
}

// show writes a row, and tells what could not be found out about it.
func (l *list) show(ctx context.Context, r row) error {
	if err := l.write(ctx, r); err != nil {
		return err
	}
	return l.tell(ctx, r.err)
}

func (l *list) write(ctx context.Context, r row) error {
	switch {
	case l.asJSON:
		return writeRow(ctx, l.out, r)
	case l.long:
		_, err := fmt.Fprintln(l.out, l.out.name(longLine(r)))
		return err
	}
	_, err := fmt.Fprintln(l.out, l.out.name(r.name))
	return err
}

// hint says why a directory is empty that nobody was asked about.
func (l *list) hint(ctx context.Context, dir tree.Dir, path string) {
	if _, err := dir.Lookup(ctx, "tags"); err == nil {
		fmt.Fprintf(l.w, "ocidistfs: nothing is known of %s yet; a repository's tags are in ocidistfs ls %s/tags\n", path, path)
	}
}

// longLine is a row as ls -l has it, without owners. Its columns have the same width in
// every line: it is shown before the others are known.
func longLine(r row) string {
	if r.err != nil && r.attr.Mode == 0 {
		return fmt.Sprintf("%s????????? %12s %16s %s", typeLetter(r.mode), "?", "?", r.name)
	}
	line := fmt.Sprintf("%s%s %12d %s %s", typeLetter(r.attr.Mode), r.attr.Mode.Perm().String()[1:], r.attr.Size,
		r.attr.ModTime.Local().Format("2006-01-02 15:04"), r.name)
	if r.target != "" {
		line += " -> " + r.target
	}
	return line
}

func typeLetter(mode iofs.FileMode) string {
	switch {
	case mode.IsDir():
		return "d"
	case mode.Type() == iofs.ModeSymlink:
		return "l"
	case mode.Type() == iofs.ModeNamedPipe:
		return "p"
	case mode&iofs.ModeCharDevice != 0:
		return "c"
	case mode&iofs.ModeDevice != 0:
		return "b"
	}
	return "-"
}

// rowJSON is a row for programs. Size, mode and time are missing where they could not
// be found out.
type rowJSON struct {
	Name     string     `json:"name"`
	Path     string     `json:"path"`
	Type     string     `json:"type"` // file, directory or link; within an image also pipe or device
	Size     *int64     `json:"size,omitempty"`
	Mode     string     `json:"mode,omitempty"` // octal
	Modified *time.Time `json:"modified,omitempty"`
	Target   string     `json:"target,omitempty"`
	Error    string     `json:"error,omitempty"`
	rowContent
}

// rowContent is what a file stands for, where that is known. Nobody is asked what a
// directory does: there may be a hundred thousand tags.
type rowContent struct {
	Digest    string `json:"digest,omitempty"`         // of a file's bytes
	Manifest  string `json:"manifestDigest,omitempty"` // where digest is not known: of what it follows from
	MediaType string `json:"mediaType,omitempty"`      // of what either names
}

func contentOf(ctx context.Context, r row) (c rowContent) {
	described, ok := r.node.(tree.Described)
	if !ok || r.err != nil || !r.mode.IsRegular() {
		return c
	}
	d, err := described.Describe(ctx)
	if err != nil {
		return c
	}
	for _, a := range d.Attributes() {
		switch a.Name {
		case tree.DigestAttribute:
			c.Digest = a.Value
		case tree.ManifestDigestAttribute:
			c.Manifest = a.Value
		case tree.MediaTypeAttribute:
			c.MediaType = a.Value
		}
	}
	return c
}

func writeRow(ctx context.Context, w io.Writer, r row) error {
	j := rowJSON{Name: r.name, Path: shownPath(r.path), Type: typeName(r.mode), Target: r.target}
	if r.attr.Mode != 0 {
		j.Size, j.Mode = &r.attr.Size, fmt.Sprintf("%04o", r.attr.Mode.Perm())
		modified := r.attr.ModTime.UTC()
		j.Modified = &modified
	}
	if r.err != nil {
		j.Error = r.err.Error()
	}
	j.rowContent = contentOf(ctx, r)
	return writeLine(w, j)
}

func typeName(mode iofs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode.Type() == iofs.ModeSymlink:
		return "link"
	case mode.Type() == iofs.ModeNamedPipe:
		return "pipe"
	case mode&iofs.ModeDevice != 0:
		return "device"
	}
	return "file"
}
