package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

const cpExamples = `ocidistfs cp docker.io/library/alpine/tags/3.10/image.tar /tmp/foo.tar
# All of an image, with its times, modes and extended attributes:
ocidistfs cp -a docker.io/library/alpine/tags/3.10 /tmp/alpine-3.10
# Into a directory:
ocidistfs cp docker.io/library/alpine/tags/3.10/manifest.json docker.io/library/alpine/tags/3.10/digest /tmp
`

// A copying is one run of the command cp.
type copying struct {
	view
	recursive, follow, preserve bool

	*openView
	tally
	meter *progress
}

func addCp(app *kingpin.Application) (string, command) {
	var c copying
	var paths []string
	cmd := app.Command("cp", "Copy files and directories out of what a mount shows, without a mount.").HelpLong(cpExamples)
	cmd.Flag("recursive", "Copy directories too. Links below them stay links; those in PATH are followed.").Short('r').BoolVar(&c.recursive)
	cmd.Flag("dereference", "Follow links below directories.").Short('L').BoolVar(&c.follow)
	cmd.Flag("archive", "Copy directories too, and give all the exact mode, and extended attributes; without it the umask counts, and directories can be written to by you.").Short('a').BoolVar(&c.preserve)
	c.flags(cmd)
	c.ahead.flags(cmd)
	cmd.Arg("PATH", "What is copied: "+pathForm+" The last one is where to, on this machine: a directory that is there, or a new name.").Required().StringsVar(&paths)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		last := len(paths) - 1
		from, to := paths[:last], paths[last]
		switch {
		case len(from) == 0:
			return usagef("where to? the last PATH is a place on this machine, as in: ocidistfs cp %s .", to)
		case to == "":
			return usagef("the last PATH is empty; . is the working directory")
		}
		info, err := os.Stat(to)
		into := err == nil && info.IsDir()
		if len(from) > 1 && !into {
			return usagef("%s: it is no directory, and there is more than one file for it", to)
		}
		c.recursive = c.recursive || c.preserve
		if c.openView, err = c.open(ctx, s, hostsIn(from)...); err != nil {
			return err
		}
		defer c.close()
		c.tally = tally{w: c.err}
		return c.run(ctx, from, to, into)
	}
}

// run copies into the directory to, or the one thing so that it is called to.
func (c *copying) run(ctx context.Context, from []string, to string, into bool) error {
	for _, path := range from {
		if err := c.tell(ctx, c.advise(ctx, c.one(ctx, path, to, into))); err != nil {
			return err
		}
	}
	return c.end()
}

// one copies what a path leads to.
func (c *copying) one(ctx context.Context, from, to string, into bool) error {
	place, err := c.Find(ctx, from)
	if err != nil {
		return err
	}
	source := rowOf(place, place.Path).look(ctx)
	if source.err != nil {
		return source.err
	}
	name := path.Base(from)
	if source.mode.IsDir() {
		switch {
		case !c.recursive:
			return advised{notAFile(place), "-r copies directories"}
		case into && (strings.HasSuffix(from, "/.") || name == "." || name == ".." || name == "/"):
			// What is in it: there is no name for it.
			return c.inDirectory(ctx, to, source, func(root *os.Root) error {
				return c.contents(ctx, root, readBranch(ctx, source, everything))
			})
		}
	} else if !into && strings.HasSuffix(to, string(filepath.Separator)) {
		return fmt.Errorf("%s: there is no such directory", to)
	}
	dir := to
	if !into {
		if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() && !source.mode.IsDir() {
			return c.through(ctx, to, source)
		}
		if to, err = written(to); err != nil {
			return err
		}
		dir, name = filepath.Dir(to), filepath.Base(to)
	}
	return c.inDirectory(ctx, dir, source, func(root *os.Root) error { return c.node(ctx, root, name, source) })
}

// written is the file that is replaced where a path leads over links.
func written(to string) (string, error) {
	real, err := filepath.EvalSymlinks(to)
	if errors.Is(err, os.ErrNotExist) {
		if _, failed := os.Lstat(to); failed == nil {
			return "", fmt.Errorf("write %s: it is a link that leads nowhere", to)
		}
		return filepath.Clean(to), nil
	}
	return real, err
}

// inDirectory does what writes below a directory, and nowhere else.
func (c *copying) inDirectory(ctx context.Context, dir string, source row, do func(*os.Root) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write to %s: %w", dir, withoutPath(err))
	}
	size := int64(-1) // that of all in a directory is not known before it was read
	if !source.mode.IsDir() {
		size = source.attr.Size
	}
	c.meter = newProgress(c.err, size, shownPath(source.path))
	err = do(root)
	c.meter.end(err == nil && ctx.Err() == nil)
	return errors.Join(err, root.Close())
}

// through writes a file to what cannot be replaced, such as a device or a pipe.
func (c *copying) through(ctx context.Context, to string, source row) error {
	open, err := openWhole(ctx, tree.Place{Node: source.node, Path: source.path})
	if err != nil {
		return err
	}
	c.meter = newProgress(c.err, open.Size(), source.path)
	err = writeTo(to, func(f *os.File) error { return copyAll(ctx, teeTo(f, c.meter), open) })
	c.meter.end(err == nil)
	return errors.Join(err, open.Close())
}
