package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"strings"
)

var (
	// ErrNotDir is a path that goes on below something that is no directory.
	ErrNotDir = errors.New("not a directory")
	// ErrLoop is a path that leads over too many links.
	ErrLoop = errors.New("too many links")
)

// maxLinks is how many links a path may lead over, as in Linux (path_resolution(7)).
const maxLinks = 40

// A Place is a node and where it is.
type Place struct {
	Node Node
	// Path leads there from the root, with no link before its end: names with slashes
	// between, "" for the root.
	Path string
}

// A FindError says which part of a path could not be gone to.
type FindError struct {
	Path string // as it was asked for
	Dir  string // the directory that was reached, as in [Place]
	Name string // what was looked for there
	Err  error
}

func (e *FindError) Error() string {
	at := path.Join(e.Dir, e.Name)
	switch {
	case e.Err == iofs.ErrNotExist && e.Dir == "": //nolint:errorlint // one that says more is shown
		return fmt.Sprintf("%s: %q is no registry's host", e.Path, e.Name)
	case e.Err == iofs.ErrNotExist, e.Err == ErrNever: //nolint:errorlint // the same
		return fmt.Sprintf("%s: there is no %q in %s", e.Path, e.Name, e.Dir)
	case at == path.Clean(strings.TrimLeft(e.Path, "/")):
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Path, at, e.Err)
}

func (e *FindError) Unwrap() error { return e.Err }

// Find returns what is at a path from the root, as path_resolution(7) has it: links are
// followed, ".." is the parent of the directory that was reached and never leads out
// of the tree, and what ends with a slash is a directory. A leading slash means
// nothing. A link that is in an image leads to where it would for a program that has the
// image's root directory as its own (chroot(2)), and never out of that. The error is a
// [*FindError].
//
// It asks the registry for no more than the names need: those of hosts and
// repositories need nothing.
func (t *Tree) Find(ctx context.Context, path string) (Place, error) {
	return find(ctx, t.Root(), path, true)
}

// FindLink does the same, but for a link at the end of the path, which it returns
// itself.
func (t *Tree) FindLink(ctx context.Context, path string) (Place, error) {
	return find(ctx, t.Root(), path, strings.HasSuffix(path, "/"))
}

// A step is a name that is still to be gone to, and which part of the way ".." does not
// leave: one place for the root of the tree, more within an image.
type step struct {
	name string
	keep int
}

// stepsOf are the names of a path.
func stepsOf(path string, keep int) []step {
	var steps []step
	for name := range strings.SplitSeq(path, "/") {
		steps = append(steps, step{name, keep})
	}
	return steps
}

func find(ctx context.Context, root Dir, asked string, follow bool) (Place, error) {
	way := []Place{{Node: root}} // from there to what was reached
	todo := stepsOf(asked, 1)
	for links := 0; len(todo) > 0; {
		name, keep := todo[0].name, todo[0].keep
		todo = todo[1:]
		here := way[len(way)-1]
		fail := func(err error) (Place, error) {
			return Place{}, &FindError{Path: asked, Dir: here.Path, Name: name, Err: err}
		}
		dir, ok := here.Node.(Dir)
		if !ok { // a name follows, or the path ends with a slash
			here, name = way[len(way)-2], path.Base(here.Path)
			return fail(ErrNotDir)
		}
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(len(way)-1, keep)]
			continue
		}
		child, err := dir.Lookup(ctx, name)
		if err != nil {
			return fail(err)
		}
		if link, ok := child.Node.(Link); ok && (follow || len(todo) > 0) {
			if links++; links > maxLinks {
				return fail(ErrLoop)
			}
			target, err := link.Target(ctx)
			if err != nil {
				return fail(err)
			}
			keep := 1
			if _, ok := link.(rootfsLink); ok {
				keep = withinImage(way)
				if strings.HasPrefix(target, "/") {
					way = way[:keep]
				}
			}
			todo = append(stepsOf(target, keep), todo...)
			continue
		}
		way = append(way, Place{child.Node, path.Join(here.Path, name)})
	}
	return way[len(way)-1], nil
}

// withinImage is how long the part of a way is that leads to the root directory of the image
// that the way ends in.
func withinImage(way []Place) int {
	for n := len(way); n > 1; n-- {
		if dir, ok := way[n-1].Node.(rootfsDir); ok && dir.isRoot() {
			return n
		}
	}
	return 1
}
