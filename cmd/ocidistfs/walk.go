package main

import (
	"context"
	iofs "io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// How much is asked for at once: names of a directory are looked at, and directories
// read that will be shown next.
const (
	namesAtOnce       = 32
	directoriesAtOnce = 8
)

// A row is a name in a directory, and what it is.
type row struct {
	name string
	path string // from the root
	mode iofs.FileMode
	in   tree.Dir
	// What follows is there where it was looked at.
	node   tree.Node
	attr   tree.Attr
	target string // of a link
	err    error  // why the name, or what it is, could not be looked at
}

// look looks at the row.
func (r row) look(ctx context.Context) row {
	if r.node == nil {
		child, err := r.in.Lookup(ctx, r.name)
		if err != nil {
			r.err = r.failed(err)
			return r
		}
		r.node = child.Node
	}
	var err error
	if r.attr, err = r.node.Attr(ctx); err == nil {
		r.mode = r.attr.Mode
		if link, ok := r.node.(tree.Link); ok {
			r.target, err = link.Target(ctx)
		}
	}
	if err != nil {
		r.err = r.failed(err)
	}
	return r
}

// failed is an error of the row.
func (r row) failed(err error) error {
	dir, name := path.Split(r.path)
	return &tree.FindError{Path: r.path, Dir: strings.TrimSuffix(dir, "/"), Name: name, Err: err}
}

// rowOf is a place as a row that is called name.
func rowOf(place tree.Place, name string) row {
	r := row{name: name, path: place.Path, node: place.Node}
	switch place.Node.(type) {
	case tree.Dir:
		r.mode = iofs.ModeDir
	case tree.Link:
		r.mode = iofs.ModeSymlink
	}
	return r
}

// rowsOf yields the rows of the directory at a path as they become known, and last why
// there are no more. Those that which says are looked at; nil is none.
func rowsOf(ctx context.Context, dir tree.Dir, at string, which func(iofs.FileMode) bool) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		var ended error // set before the rows end
		rows := func(ctx context.Context) iter.Seq[row] {
			return func(yield func(row) bool) {
				for e, err := range dir.List(ctx) {
					if err != nil {
						ended = err
						return
					}
					if !yield(row{name: e.Name, path: path.Join(at, e.Name), mode: e.Mode, in: dir}) {
						return
					}
				}
			}
		}
		looked := rows(ctx)
		if which != nil {
			looked = inOrder(ctx, namesAtOnce, rows, func(ctx context.Context, r row) row {
				if which(r.mode) {
					return r.look(ctx)
				}
				return r
			})
		}
		for r := range looked {
			if !yield(r, nil) {
				return
			}
		}
		if ended != nil {
			yield(row{}, ended)
		}
	}
}

// A branch is a directory that was read.
type branch struct {
	row
	rows []row
	err  error // why not all of it was
}

// readBranch reads the directory that a row is.
func readBranch(ctx context.Context, r row, which func(iofs.FileMode) bool) branch {
	if r.node == nil || r.attr.Mode == 0 {
		if r = r.look(ctx); r.err != nil {
			return branch{row: r, err: r.err}
		}
	}
	b := branch{row: r}
	dir, ok := r.node.(tree.Dir)
	if !ok { // it was one when it was listed
		b.err = r.failed(tree.ErrNotDir)
		return b
	}
	for one, err := range rowsOf(ctx, dir, b.path, which) {
		if err != nil {
			b.err = listError{b.path, err}
			break
		}
		b.rows = append(b.rows, one)
	}
	return b
}

// branches reads directories, and yields them in the order given: those that come next
// are read meanwhile.
func branches(ctx context.Context, dirs []row, which func(iofs.FileMode) bool) iter.Seq[branch] {
	return inOrder(ctx, directoriesAtOnce,
		func(context.Context) iter.Seq[row] { return slices.Values(dirs) },
		func(ctx context.Context, r row) branch { return readBranch(ctx, r, which) })
}

// A listError is why not all of a directory could be read.
type listError struct {
	path string
	err  error
}

func (e listError) Error() string { return shownPath(e.path) + ": " + e.err.Error() }

func (e listError) Unwrap() error { return e.err }

// shownPath is how a path is shown: that of the root has no name.
func shownPath(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// The rows that are looked at: links, for where they lead, or all.
func links(mode iofs.FileMode) bool { return mode.Type() == iofs.ModeSymlink }
func everything(iofs.FileMode) bool { return true }
